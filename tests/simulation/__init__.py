"""Several replicas over simulated stores and a fake clock, with every fault that a seed comes up with."""
