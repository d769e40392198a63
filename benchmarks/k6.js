// Calls of `python -m benchmarks.k6`: scenarios one after the other, that take turns between both servers.
//
// SCENARIOS: [{name, kind: trivial | authorize | trivialCommit | commit, seconds, per_second (0: as many as can be)}]
// They do not overlap, so that all have the same virtual users: each has a connection of its own to either server, and
// commits what it was granted itself.
import grpc from 'k6/net/grpc';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';

const scenarios = JSON.parse(__ENV.SCENARIOS);
const users = Number(__ENV.USERS);
const calls = new Counter('calls');
const failures = new Counter('failures');
const clients = { service: new grpc.Client(), trivial: new grpc.Client() };
for (const client of Object.values(clients)) client.loadProtoset(__ENV.PROTOSET);
const address = { service: __ENV.SERVICE, trivial: __ENV.TRIVIAL };
const connected = {};
const held = [];
let number = 0;

export const options = { scenarios: {}, thresholds: {}, summaryTrendStats: ['med', 'p(99)'] };
let start = 0;
for (const { name, kind, seconds, per_second: rate } of scenarios) {
  const common = { exec: kind, startTime: `${start}s`, gracefulStop: '500ms' };
  options.scenarios[name] = rate
    ? { ...common, executor: 'constant-arrival-rate', rate, duration: `${seconds}s`, preAllocatedVUs: users }
    : { ...common, executor: 'constant-vus', vus: users, duration: `${seconds}s` };
  for (const metric of ['calls', 'failures']) options.thresholds[`${metric}{scenario:${name}}`] = ['count>=0'];
  options.thresholds[`grpc_req_duration{scenario:${name}}`] = ['med>=0'];
  start += seconds + 1;
}

function called(server, method, request, good) {
  const client = clients[server];
  if (!connected[server]) {
    client.connect(address[server], { plaintext: true });
    connected[server] = true;
  }
  const answer = client.invoke(`quota.v1.QuotaService/${method}`, request);
  calls.add(1);
  if (!check(answer, { good: (it) => it && it.status === grpc.StatusOK && good(it.message) })) {
    failures.add(1);
    return undefined;
  }
  return answer.message;
}

function asked(server) {
  const request = { ...JSON.parse(__ENV.REQUEST), idempotency_key: `${__ENV.RUN}/${__VU}/${number++}` };
  return called(server, 'Authorize', request, (it) => it.decision === 'DECISION_ALLOW' && !it.replayed);
}

function committed(server, name) {
  const request = { ...JSON.parse(__ENV.COMMIT), name };
  return called(server, 'Commit', request, (it) => it.durability === 'DURABILITY_LEDGER' && !it.late);
}

export function setup() {
  console.log('begun');
}

export function trivial() {
  asked('trivial');
}

export function authorize() {
  const answer = asked('service');
  if (answer) held.push(answer.reservation.name);
}

export function trivialCommit() {
  if (held.length) committed('trivial', held[0]);
  else sleep(0.1);
}

export function commit() {
  if (held.length) committed('service', held.pop());
  else sleep(0.1);
}

export function handleSummary(data) {
  return { stdout: JSON.stringify(data.metrics) };
}
