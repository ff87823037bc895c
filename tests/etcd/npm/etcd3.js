// SPDX-License-Identifier: Apache-2.0
// What programs do with npm's etcd3, one line a result; npm.py compares two servers by it.
const { Etcd3 } = require('etcd3');

const client = new Etcd3({ hosts: process.argv[2] });
const say = (...words) => console.log(...words);

async function keys() {
  await client.put('foo').value('bar');
  say('get', await client.get('foo').string(), await client.get('none').string());
  say('prefix', JSON.stringify(await client.getAll().prefix('f').strings()), await client.getAll().count());
  for (const value of ['bar', 'other']) {
    const r = await client.if('foo', 'Value', '==', value).then(client.put('foo').value('baz')).else(client.get('foo')).commit();
    say('if', value, r.succeeded, r.responses.length);
  }
}

async function watches() {
  const watcher = await client.watch().prefix('w/').create();
  const seen = [];
  const two = new Promise((resolve) => {
    const note = (kind) => (kv) => { seen.push(`${kind} ${kv.key} ${kv.value}`); if (seen.length === 2) resolve(); };
    watcher.on('put', note('put'));
    watcher.on('delete', note('delete'));
  });
  await client.put('w/1').value('x');
  await client.delete().key('w/1');
  await two;
  await watcher.cancel();
  say('watch', seen.join(', '));
}

async function leases() {
  const lease = client.lease(10);
  await lease.put('leased').value('x');
  await lease.keepaliveOnce();
  say('lease', await client.get('leased').string());
  await lease.revoke();
  say('revoked', await client.get('leased').string());
}

async function recipes() {
  const lock = client.lock('lock');
  await lock.acquire();
  try {
    await client.lock('lock').acquire();
    say('locked twice');
  } catch (e) {
    say('second lock', e.constructor.name);
  }
  await lock.release();
  const campaign = client.election('election', 5).campaign('me');
  await new Promise((resolve, reject) => { campaign.on('elected', resolve); campaign.on('error', reject); });
  say('leader', await client.election('election').leader());
  await campaign.resign();
  await client.stm().transact(async (tx) => tx.put('foo').value(`${await tx.get('foo').string()}!`));
  say('stm', await client.get('foo').string());
}

(async () => {
  await keys();
  await watches();
  await leases();
  await recipes();
  await client.put('x').lease(12345).exec().catch((e) => say('error', e.constructor.name, e.message));
  await client.delete().all();
  say('empty', await client.getAll().count());
  client.close();
})().catch((e) => { say('failed', e); process.exit(1); });
