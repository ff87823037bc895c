// SPDX-License-Identifier: Apache-2.0
// What a program can ask npm's etcd3 for, one line a result: test_npm.py compares servers by it. Revisions are told
// relative to the first one.
'use strict';
const { Etcd3, EtcdLeaseInvalidError, NotCampaigningError, STMConflictError } = require('etcd3');

const hosts = process.argv[2].split(',').map((host) => `http://${host}`);
const client = new Etcd3({ hosts });
// A transaction of etcd3's reads later keys at the revision of the first, from any host: that may not have come so far.
const oneHost = new Etcd3({ hosts: hosts[0] });
const say = (...words) => console.log(...words);
const event = (emitter, name) => new Promise((resolve, reject) => {
  emitter.once(name, resolve);
  if (name !== 'error') emitter.once('error', reject);
});
const failure = (promise) => promise.then(() => 'no error', (e) => `${e.constructor.name}: ${e.message}`);
const pairs = (object) => JSON.stringify(Object.entries(object).sort());
let first;
const since = (revision) => Number(revision) - first;

async function keys() {
  first = Number((await client.put('foo').value('bar')).header.revision);
  await client.put('number').value(42);
  await client.put('json').value(JSON.stringify({ a: [1, null] }));
  await client.put('bytes').value(Buffer.from([0, 255, 10]));
  say('one', await client.get('foo'), await client.get('foo').string('hex'), await client.get('none').string(),
    await client.get('number').number(), JSON.stringify(await client.get('json').json()),
    (await client.get('bytes').buffer()).toString('hex'), await client.get('foo').exists(), await client.get('none').exists());
  const got = await client.get('foo').exec();
  say('exec', got.count, got.more, since(got.kvs[0].create_revision), since(got.kvs[0].mod_revision), got.kvs[0].version,
    got.kvs[0].lease);
  const old = await client.put('foo').value('baz').getPrevious();
  say('previous', old.value.toString(), old.version, since(old.header.revision));
  say('at a revision', await client.get('foo').revision(first).string(), await client.get('foo').serializable(true).string());
  await client.put('foo').touch();
  say('touched', await client.get('foo').string(), (await client.get('foo').exec()).kvs[0].version);
  for (let i = 0; i < 25; i++) await client.put(`k/${String(i).padStart(2, '0')}`).value(i % 7);
  say('prefix', pairs(await client.getAll().prefix('k/1').numbers()), await client.getAll().prefix('k/').count());
  say('range', pairs(await client.getAll().inRange({ start: 'k/03', end: 'k/06' }).strings()),
    (await client.getAll().inRange({ prefix: 'k/2' }).keys()).join());
  say('sorted', (await client.getAll().prefix('k/').sort('Value', 'Descend').limit(5).exec()).kvs.map((kv) => kv.value).join(),
    (await client.getAll().prefix('k/').sort('Key', 'Descend').limit(3).keys()).join(),
    (await client.getAll().prefix('k/').sort('Mod', 'Ascend').limit(2).keyBuffers()).map(String).join());
  say('all', (await client.getAll().all().keys()).length, Object.keys(await client.getAll().prefix('k/0').buffers()).length,
    pairs(await client.getAll().prefix('json').json()));
  const middle = first + 10;
  say('by revision', await client.getAll().prefix('k/').minModRevision(middle).count(),
    (await client.getAll().prefix('k/').maxModRevision(middle).keys()).join(),
    (await client.getAll().prefix('k/').minCreateRevision(middle).maxCreateRevision(middle + 1).keys()).join());
  say('deleted', (await client.delete().key('k/00').getPrevious()).map((kv) => `${kv.key}=${kv.value}`).join(),
    (await client.delete().inRange({ start: 'k/01', end: 'k/04' })).deleted, (await client.delete().prefix('k/1')).deleted,
    (await client.delete().key('none')).deleted);
}

async function transactions() {
  for (const value of ['baz', 'other']) {
    const r = await client.if('foo', 'Value', '==', value).and('number', 'Version', '>', 0).then(client.put('foo').value('new'),
      client.get('foo'), client.delete().prefix('k/2')).else(client.get('number')).commit();
    say('if', value, r.succeeded, r.responses.map((one) => one.response).join());
  }
  for (const [column, how, value] of [['Create', '<', 1e9], ['Mod', '!=', 0], ['Version', '==', 77], ['Lease', '==', 0]]) {
    say('compare', column, how, (await client.if('foo', column, how, value).commit()).succeeded);
  }
}

async function namespaces() {
  const outer = client.namespace('outer/');
  const inner = outer.namespace('inner/');
  await outer.put('a').value('1');
  await inner.put('a').value('2');
  say('namespace', await outer.get('a'), await inner.get('a'), (await outer.getAll().keys()).join(), await client.get('outer/inner/a'));
  const watcher = await inner.watch().key('b').create();
  const put = event(watcher, 'put');
  await inner.if('a', 'Value', '==', '2').then(inner.put('b').value('3')).commit();
  const kv = await put;
  say('in it', String(kv.key), String(kv.value), (await inner.delete().all()).deleted, await outer.getAll().count());
  await watcher.cancel();
}

async function watches() {
  const seen = { all: [], puts: [], past: [] };
  const note = (name, kind) => (kv, before) => seen[name].push(`${kind} ${kv.key} ${kv.value}${before ? ` (${before.value})` : ''}`);
  const all = await client.watch().prefix('w/').withPreviousKV().create();
  const puts = await client.watch().inRange({ start: 'w/1', end: 'w/3' }).only('put').create();
  for (const [name, watcher] of [['all', all], ['puts', puts]]) {
    watcher.on('put', note(name, 'put')).on('delete', note(name, 'delete'));
  }
  const { revision } = (await client.put('w/1').value('x')).header;
  await client.put('w/1').value('y');
  await client.delete().key('w/1');
  await client.put('w/3').value('z');
  await client.put('w/2').value('end');
  const past = await client.watch().prefix('w/').startRevision(revision).create();
  past.on('put', note('past', 'put')).on('delete', note('past', 'delete'));
  while (Object.values(seen).some((list) => !list.some((line) => line.includes('end')))) await new Promise((r) => setTimeout(r, 5));
  for (const [name, list] of Object.entries(seen)) say('watch', name, list.join(', '));
  say('last', since(all.lastRevision()) > 0, all.id !== null);
  await Promise.all([all.cancel(), puts.cancel(), past.cancel()]);
}

async function leases() {
  const lease = client.lease(10);
  const established = event(lease, 'keepaliveEstablished');
  const succeeded = event(lease, 'keepaliveSucceeded');
  const id = await lease.grant();
  await lease.put('leased').value('x');
  await Promise.all([established, succeeded]);
  const once = await lease.keepaliveOnce();
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  say('lease', await client.get('leased').string(), once.TTL, left.grantedTTL, left.keys.map(String).join(),
    (await client.leaseClient.leaseLeases()).leases.length);
  await client.put('leased').value('kept').ignoreLease();
  say('ignored', (await client.get('leased').exec()).kvs[0].lease === id);
  await lease.revoke();
  say('revoked', lease.revoked(), await client.get('leased').string());

  const lost = client.lease(3);
  const loss = new Promise((resolve) => lost.on('lost', resolve));
  await lost.put('lost').value('x');
  await client.leaseClient.leaseRevoke({ ID: await lost.grant() });
  say('lost', (await loss) instanceof EtcdLeaseInvalidError, await client.get('lost').string(),
    (await failure(lost.put('again').value('x').exec())).replace(/\d{5,}/, 'ID'));

  const silent = client.lease(1, { autoKeepAlive: false });
  const watcher = await client.watch().key('silent').create();
  const gone = event(watcher, 'delete');
  await silent.put('silent').value('x');
  await gone;
  say('ran out', (await failure(silent.keepaliveOnce())).replace(/\d{5,}/, 'ID'));
  await watcher.cancel();
  say('unknown', await failure(client.put('x').lease(12345).exec()));
}

async function locks() {
  const lock = client.lock('lock').ttl(5);
  await lock.acquire();
  say('locked', (await client.get('lock').exec()).kvs[0].lease === await lock.leaseId());
  say('second', await failure(client.lock('lock').acquire()));
  await lock.release();
  say('do', await client.lock('lock').do(async () => `done, ${await client.get('lock').exists()}`), await client.get('lock').exists());
  say('thrown', await failure(client.lock('lock').do(async () => { throw new Error('mine'); })), await client.get('lock').exists());
}

async function elections() {
  const election = client.election('e', 10);
  const observer = await election.observe();
  const changes = [];
  observer.on('change', (who) => changes.push(String(who)));
  const change = (who) => observer.leader() === who || new Promise((resolve) => {
    observer.on('change', function seen() { if (observer.leader() === who) { observer.off('change', seen); resolve(); } });
  });
  say('nobody', await election.leader(), observer.leader());
  const one = election.campaign('one');
  await one.wait();
  await change('one');
  const two = election.campaign('two');
  await event(two, '_isWaiting');
  say('leader', await election.leader(), observer.hasLeader);
  await one.proclaim('one and more');
  await change('one and more');
  await two.proclaim('two, waiting');
  const elected = two.wait();
  await one.resign();
  await elected;
  await change('two, waiting');
  say('next', await election.leader(), await failure(one.proclaim('late')), String(await failure(one.proclaim('late'))).includes(NotCampaigningError.name));
  await two.resign();
  await change(undefined);
  say('changes', changes.join());
  await observer.cancel();
}

// SerializableSnapshot, Serializable, RepeatableReads, ReadCommitted: what another's write to a key that was read does.
async function stm() {
  for (let isolation = 0; isolation < 4; isolation++) {
    const name = `stm/${isolation}`;
    // b before a: etcd3's SerializableSnapshot never commits if it changes a key that is newer than another it has read
    await oneHost.put(`${name}/b`).value('1');
    await oneHost.put(`${name}/a`).value('1');
    let runs = 0;
    const meddle = (retries) => oneHost.stm({ isolation, retries, prefetch: [`${name}/a`] }).transact(async (tx) => {
      const a = await tx.get(`${name}/a`).number();
      if (runs++ === 0) await oneHost.put(`${name}/a`).value('10');
      await tx.put(`${name}/a`).value(a + 1);
      await tx.put(`${name}/c`).value('c');
      const again = [await tx.get(`${name}/a`).number(), await tx.get(`${name}/c`).string()];
      await tx.delete().key(`${name}/b`);
      return [...again, await tx.get(`${name}/b`).string()].join();
    });
    say('stm', isolation, await meddle(3), runs, pairs(await client.getAll().prefix(`${name}/`).strings()));
    runs = 0;
    const conflict = await failure(meddle(0));
    say('conflict', isolation, conflict.startsWith(STMConflictError.name) ? STMConflictError.name : conflict);
  }
  // an overwrite of a key that was not read is noticed on the first level only (and there for ever)
  for (let isolation = 0; isolation < 2; isolation++) {
    let runs = 0;
    const outcome = await failure(oneHost.stm({ isolation, retries: 2 }).transact(async (tx) => {
      await tx.get('stm/0/a').string();
      if (runs++ === 0) await oneHost.put('stm/blind').value('other');
      await tx.put('stm/blind').value('mine');
    }));
    say('blind', isolation, runs, outcome, await client.get('stm/blind').string());
  }
  say('range', await failure(oneHost.stm().transact((tx) => tx.delete().prefix('stm/').exec())));
}

async function cluster() {
  const { members } = await client.cluster.memberList({});
  const statuses = await Promise.all(hosts.map((host) => {
    const one = new Etcd3({ hosts: host });
    return one.maintenance.status().finally(() => one.close());
  }));
  say('members', members.length === hosts.length, new Set(members.map((m) => m.ID)).size === hosts.length,
    members.every((m) => m.clientURLs.length === 1), new Set(statuses.map((s) => s.leader)).size,
    members.some((m) => m.ID === statuses[0].leader), new Set(statuses.map((s) => s.header.cluster_id)).size);
  say('status', /^3\.\d+\.\d+$/.test(statuses[0].version), statuses.every((s) => Number(s.dbSize) > 0 && Number(s.raftTerm) > 0));
  say('alarms', (await client.maintenance.alarm({ action: 'Get', memberID: 0, alarm: 'None' })).alarms.length);
  await client.kv.compact({ revision: first + 5, physical: true });
  say('compacted', await failure(client.get('foo').revision(first).string()));
  say('future', await failure(client.get('foo').revision(first + 1e6).string()));
  const behind = client.watch().key('foo').startRevision(first).watcher();
  say('watch of the past', (await new Promise((resolve) => behind.on('error', resolve))).constructor.name);
  say('users', await failure(client.auth.authEnable()));
}

(async () => {
  const what = { keys, transactions, namespaces, watches, leases, locks, elections, stm, cluster };
  for (const name of Object.keys(what)) {
    say(`-- ${name}`);
    await what[name]();
  }
  await client.delete().all();
  say('empty', await client.getAll().count());
  client.close();
  oneHost.close();
  say('closed', await failure(client.get('foo').string()));
  process.exit(0);         // a keepalive that is answered after its lease was revoked leaves a timer of etcd3's for its TTL
})().catch((e) => { say('failed', e); process.exit(1); });
