"""Generated from protos/quota/v1: messages (`*_pb2`) and stubs (`*_pb2_grpc`)."""
