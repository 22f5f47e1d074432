/** bridge and tuning in one conflist, called by cnictl as a runtime calls it. */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Result } from '../../lib/cni/types.ts'
import {
  assertSameSnapshot,
  hostLocal,
  type Outcome,
  pluginDirectory,
  programPath,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'
import { backups, tuningDirectory } from './tuning-fixture.ts'

const mac = '02:00:00:00:77:01'

t.test('a chain of bridge and tuning is added, checked, collected and deleted', t =>
  withHost(t, host => {
    const [config, cache] = [join(host.directory, 'net.d'), join(host.directory, 'cache')]
    for (const directory of [config, cache]) mkdirSync(directory)
    const plugins = [
      { type: 'bridge', bridge: 'br0', isDefaultGateway: true, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) },
      { type: 'tuning', mtu: 1400, promisc: true, capabilities: { mac: true }, dataDir: tuningDirectory(host) },
    ]
    writeFileSync(join(config, 'podnet.conflist'), JSON.stringify({ cniVersion: '1.1.0', name: 'podnet', plugins }))
    const environment = { PATH: programPath, NETCONFPATH: config, CNI_PATH: pluginDirectory }
    const run = (...words: string[]): Outcome =>
      host.execute([join(pluginDirectory, 'cnictl'), ...words, '--cache-dir', cache], { environment })
    const container = host.createContainer()
    const capabilities = ['--capability-args', JSON.stringify({ mac })]
    // The bridge stays.
    t.equal(run('add', 'podnet', container.path, ...capabilities).status, 0)
    t.equal(run('del', 'podnet', container.path, ...capabilities).status, 0)
    const before = snapshot(host)

    const added = run('add', 'podnet', container.path, '--json', ...capabilities)
    t.equal(added.status, 0, added.stderr)
    const result = JSON.parse(added.stdout) as Result
    t.match(
      result.interfaces?.find(one => one.name === 'eth0'),
      { mac, mtu: 1400 },
    )
    t.equal(container.macOf('eth0'), mac)
    t.equal(container.show('link', 'show', 'dev', 'eth0')[0]?.mtu, 1400)
    t.match(run('check', 'podnet', container.path, ...capabilities), { status: 0 }, 'both find their part in order')
    t.match(run('status', 'podnet'), { status: 0 })
    t.equal(run('gc', 'podnet', '--attachments-from-cache').status, 0)
    t.equal(backups(host).length, 1, 'GC leaves a valid attachment alone')
    t.equal(run('del', 'podnet', container.path, ...capabilities).status, 0)
    t.same(readdirSync(join(cache, 'results')), [])
    t.same(backups(host), [])
    t.same(container.links(), ['lo'])
    assertSameSnapshot(t, before, snapshot(host), 'the host is as before', ['files'])
  }),
)
