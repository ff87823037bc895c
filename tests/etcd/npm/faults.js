// SPDX-License-Identifier: Apache-2.0
// A program of npm's etcd3 that uses every part of it at once, while test_npm.py kills nodes of its cluster.
//   node faults.js HOST,HOST,HOST
// A line in, a line out, JSON: "counts" says how much each part has done; "end" ends all parts, checks what was recorded,
// and says {counts, wrong: [what must not have been]}.
'use strict';
const { Etcd3, EtcdLockFailedError, NotCampaigningError } = require('etcd3');
// For tests, as it says: a client asks its last host first, so that each node has clients of its own.
require('etcd3/lib/connection-pool').ConnectionPool.deterministicOrder = true;

const hosts = process.argv[2].split(',').map((host) => `http://${host}`);
const clients = new Map();
const counts = {};
const wrong = [];
let stage = 'started';         // told with the counts: where it is if it does not get on
let ending = false;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const count = (what, n = 1) => { counts[what] = (counts[what] || 0) + n; };
const blame = (...words) => { if (wrong.length < 50) wrong.push(words.join(' ')); };

// The i-th node's client, for all parts that are to work there.
function clientOf(i) {
  const at = (i + 1) % hosts.length;
  if (!clients.has(i)) clients.set(i, new Etcd3({ hosts: [...hosts.slice(at), ...hosts.slice(0, at)] }));
  return clients.get(i);
}

// What may be done twice, until it is done: with a node down etcd3 gives up after three attempts.
async function again(what, fn) {
  for (;;) {
    try {
      return await fn();
    } catch (e) {
      count(`${what} again: ${e.constructor.name}`);
      await sleep(20);
    }
  }
}

// Parts. Each goes on until `ending`.

const acknowledged = [];       // {key, value, revision}; no value: deleted
async function writer(i) {
  const client = clientOf(i);
  for (let n = 0; !ending; n++) {
    const key = `w/${i}/${String(n % 20).padStart(2, '0')}`;
    const value = n % 5 === 4 ? undefined : `${i}:${n}`;
    try {
      const { header } = await (value === undefined ? client.delete().key(key).exec() : client.put(key).value(value).exec());
      acknowledged.push({ key, value, revision: header.revision });
      count(`writes at ${i}`);
    } catch (e) {
      count(`unknown writes: ${e.constructor.name}`);
    }
    await sleep(3);
  }
}

// A history of w/, by a watch of etcd3's that is connected again by itself.
async function watcher(client, builder) {
  const seen = [];
  const w = await builder(client.watch().prefix('w/')).create();
  const note = (kind) => (kv) => seen.push({ kind, key: String(kv.key), value: String(kv.value), revision: kv.mod_revision });
  w.on('put', note('put')).on('delete', note('delete')).on('connected', () => count('connects'));
  w.on('error', (e) => blame('a watch has ended:', e));
  return { seen, w };
}

let holder = null;
let inside = 0;                // increments that were made under the lock
async function locker(i) {
  const client = clientOf(i);
  while (!ending) {
    const lock = client.lock('lock');
    try {
      await lock.acquire();
    } catch (e) {
      if (!(e instanceof EtcdLockFailedError)) await again('release', () => lock.release());
      await sleep(5 + 10 * Math.random());
      continue;
    }
    if (holder !== null) blame('the lock is held by', holder, 'and', i);
    holder = i;
    // reading and writing apart: only the lock makes this right
    const n = await again('locked read', () => client.get('under-lock').number());
    await again('locked write', () => client.put('under-lock').value((n || 0) + 1).exec());
    inside++;
    if (holder !== i) blame('the lock of', i, 'was taken by', holder);
    holder = null;
    await again('release', () => lock.release());
    count('locks');
    await sleep(10);
  }
}

async function keeper(i) {
  const client = clientOf(i);
  const lease = client.lease(12);
  lease.on('lost', (e) => { if (!ending) blame('the lease of', i, 'was lost:', e); });
  lease.on('keepaliveSucceeded', () => count('automatic keepalives'));
  await lease.put(`alive/${i}`).value('yes').exec();
  while (!ending && !lease.revoked()) {
    await again('keepalive', () => lease.revoked() || lease.keepaliveOnce());
    if (await again('leased read', () => client.get(`alive/${i}`).string()) !== 'yes') blame('the key of lease', i, 'is gone');
    count('keepalives');
    await sleep(100);
  }
  await again('revoke', () => lease.revoke());
}

let leader = null;
async function candidate(i) {
  const client = clientOf(i);
  while (!ending) {
    const campaign = client.election('boss', 12).campaign(`${i}`);
    try {
      await campaign.wait();
      if (leader !== null) blame(leader, 'and', i, 'lead');
      leader = i;
      campaign.on('error', () => undefined);
      await campaign.proclaim(`${i}, really`);
      await sleep(10);
      count('elections');
    } catch (e) {
      if (e instanceof NotCampaigningError) blame('who leads cannot proclaim:', e);
      count(`campaigns given up: ${e.constructor.name}`);
    }
    if (leader === i) leader = null;
    await again('resign', async () => { await campaign.lease.revoke(); await campaign.resign(); });
  }
}

async function observer(i) {
  const client = clientOf(i);
  const observed = await again('observe', () => client.election('boss').observe());
  observed.on('change', () => count('changes observed'));
  observed.on('error', (e) => blame('an observer has ended:', e));
  return observed;
}

const ACCOUNTS = 4;
const TOTAL = 1000 * ACCOUNTS;
async function mover(i, isolation) {       // 1 and 2: Serializable, RepeatableReads
  const client = clientOf(i);
  for (let n = 0; !ending; n++) {
    const [from, to] = [n % ACCOUNTS, (n + 1 + (n >> 3) % (ACCOUNTS - 1)) % ACCOUNTS];
    // etcd3 repeats a commit whose answer was lost: the mark tells that it was done
    await again('transaction', () => client.stm({ isolation, retries: 20 }).transact(async (tx) => {
      if (await tx.get(`moved/${i}`).number() === n + 1) return;
      const a = await tx.get(`account/${from}`).number();
      const b = await tx.get(`account/${to}`).number();
      await tx.put(`account/${from}`).value(a - 1);
      await tx.put(`account/${to}`).value(b + 1);
      await tx.put(`moved/${i}`).value(n + 1);
    }));
    count('transfers');
    await sleep(10);
  }
}

let swaps = 0;
async function swapper(i) {
  const space = clientOf(i).namespace('space/');
  for (let n = 0; !ending; n++) {
    const now = await again('read', () => space.get('n').exec());
    const value = `${i}/${n}`;
    const next = now.kvs.length ? Number(String(now.kvs[0].value).split(' ')[0]) + 1 : 1;
    const r = await again('swap', () => space.if('n', 'Mod', '==', now.kvs.length ? now.kvs[0].mod_revision : 0)
      .then(space.put('n').value(`${next} ${value}`), space.put(`log/${String(next).padStart(6, '0')}`).value(value))
      .else(space.get(`log/${String(next).padStart(6, '0')}`)).commit());
    // done, or done at an attempt whose answer was lost
    if (r.succeeded || String(r.responses[0].response_range.kvs[0].value) === value) {
      swaps++;
      count('swaps');
    }
    await sleep(10);
  }
}

// What must hold at the end.

function checkHistory(name, seen, truth, wants) {
  const should = truth.filter(wants).map((e) => JSON.stringify(e));
  const was = seen.map((e) => JSON.stringify(e));
  for (let i = 0; i < Math.max(should.length, was.length); i++) {
    if (should[i] !== was[i]) {
      blame(name, 'saw', was[i], 'instead of', should[i], 'as event', i, 'of', should.length);
      return;
    }
  }
}

async function checkWrites(truth) {
  const byRevision = new Map(truth.map((e) => [e.revision, e]));
  for (const { key, value, revision } of acknowledged) {
    const e = byRevision.get(revision);
    const there = e && e.key === key && (value === undefined ? e.kind === 'delete' : e.value === value);
    // a delete that found nothing, because an earlier attempt had done it, changes nothing
    if (!there && value !== undefined) blame('an acknowledged write is lost:', key, value, revision);
  }
  const now = await clientOf(0).getAll().prefix('w/').strings();
  const last = {};
  for (const e of truth) last[e.key] = e.kind === 'put' ? e.value : undefined;
  for (const key of new Set([...Object.keys(last), ...Object.keys(now)])) {
    if (last[key] !== now[key]) blame(key, 'is', now[key], 'and should be', last[key]);
  }
}

async function check(first, watchers, observers) {
  const client = clientOf(1);
  await client.put('w/end').value('end');
  const { revision } = (await client.delete().key('w/end').exec()).header;
  const truth = await watcher(client, (b) => b.startRevision(first));
  const done = (list) => list.some((e) => e.key === 'w/end' && e.kind === 'delete');
  const patience = Date.now() + 30000;
  while (![truth, ...watchers].every(({ seen }) => done(seen)) && Date.now() < patience) await sleep(5);
  count('events', truth.seen.length);
  watchers.forEach(({ seen, wants }, i) => checkHistory(`watch ${i}`, seen, truth.seen, wants));
  await checkWrites(truth.seen);
  if (truth.seen[truth.seen.length - 1].revision > revision) blame('there is something behind the end');

  const n = await client.get('under-lock').number();
  if (n !== inside) blame(inside, 'increments under the lock, and the sum is', n);
  const money = Object.values(await client.getAll().prefix('account/').numbers()).reduce((a, b) => a + b, 0);
  if (money !== TOTAL) blame('the accounts hold', money, 'instead of', TOTAL);
  const log = await client.getAll().prefix('space/log/').strings();
  const swapped = Number(String(await client.get('space/n').string()).split(' ')[0]);
  if (Object.keys(log).length !== swapped || swapped < swaps) blame(swaps, 'swaps were acknowledged of', swapped);

  const campaign = client.election('boss', 12).campaign('the last');
  await campaign.wait();
  for (const o of observers) while (o.leader() !== 'the last') await sleep(5);
}

async function listen() {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    if (line === 'end') break;
    console.log(JSON.stringify({ stage, ...counts }));
  }
}

async function main() {
  const ended = listen();
  const client = clientOf(0);
  const first = (await client.put('first').value('').exec()).header.revision;
  for (let i = 0; i < ACCOUNTS; i++) await client.put(`account/${i}`).value(TOTAL / ACCOUNTS);
  const watchers = [];
  const observers = [];
  for (let i = 0; i < hosts.length; i++) {
    stage = `watches at ${i}`;
    watchers.push({ ...await watcher(clientOf(i), (b) => b), wants: () => true });
    watchers.push({ ...await watcher(clientOf(i), (b) => b.only('delete').withPreviousKV()), wants: (e) => e.kind === 'delete' });
    stage = `observer at ${i}`;
    observers.push(await observer(i));
  }
  const parts = [];
  for (let i = 0; i < hosts.length; i++) parts.push(writer(i), locker(i), keeper(i), candidate(i), swapper(i));
  parts.push(mover(0, 1), mover(1, 2), mover(2, 1));

  stage = 'working';
  await ended;
  ending = true;
  await Promise.all(parts);
  await check(first, watchers, observers);
  console.log(JSON.stringify({ counts, wrong }));
  process.exit(0);
}

main().catch((e) => { console.error(e); process.exit(1); });
