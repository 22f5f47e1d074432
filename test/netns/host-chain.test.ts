/** The host plugin in a conflist, called by cnictl as a runtime calls it. */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Result } from '../../lib/cni/types.ts'
import {
  assertSameSnapshot,
  type Host,
  type Outcome,
  pluginDirectory,
  programPath,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { prepareUplink } from './host-fixture.ts'
import { startListener } from './socket-fixture.ts'

/** The host's network in two parts, each told by a plugin of its own; the first looks at ports. */
const plugins = [
  { type: 'host', interfaces: ['uplink'], capabilities: { portMappings: true } },
  { type: 'host', interfaces: ['br7'], dns: { nameservers: ['192.0.2.53'] } },
]

function prepare(host: Host) {
  const [config, cache] = [join(host.directory, 'net.d'), join(host.directory, 'cache')]
  for (const directory of [config, cache]) mkdirSync(directory)
  writeFileSync(join(config, 'hostnet.conflist'), JSON.stringify({ cniVersion: '1.1.0', name: 'hostnet', plugins }))
  // cnictl, as Go's plugins, wants to be told that the host's own namespace is meant.
  const environment = {
    PATH: programPath,
    NETCONFPATH: config,
    CNI_PATH: pluginDirectory,
    CNI_NETNS_OVERRIDE: '1',
  }
  return {
    run: (...words: string[]): Outcome =>
      host.execute([join(pluginDirectory, 'cnictl'), ...words, '--cache-dir', cache], { environment }),
    cached: () => readdirSync(join(cache, 'results')),
  }
}

t.test('an attachment to the host’s network lives and ends like any other', t =>
  withHost(t, async host => {
    const network = prepareUplink(host)
    host.ip('link add br7 up type bridge\naddr add 10.7.0.1/24 dev br7')
    const { run, cached } = prepare(host)
    const before = snapshot(host)
    const mappings = JSON.stringify({ portMappings: [{ hostPort: 8080, containerPort: 8080, protocol: 'tcp' }] })

    const added = run('add', 'hostnet', host.path, '--json', '--capability-args', mappings)
    t.equal(added.status, 0, added.stderr)
    const result = JSON.parse(added.stdout) as Result
    t.same(
      result.interfaces?.map(({ name, sandbox }) => [name, sandbox]),
      [
        ['uplink', undefined],
        ['br7', undefined],
      ],
    )
    t.same(result.ips, [...network.ips, { interface: 1, address: '10.7.0.1/24' }])
    t.same(result.routes, network.routes)
    t.equal(cached().length, 1)

    const listener = await startListener(host, 'tcp,0.0.0.0,8080')
    t.match(run('check', 'hostnet', host.path), { status: 0, stdout: / is in order on network hostnet\n$/ })
    t.match(run('status', 'hostnet'), { status: 0, stdout: 'network hostnet is ready: host, host\n' })
    const second = run('add', 'hostnet', host.path, '--container-id', 'other', '--capability-args', mappings)
    t.equal(second.status, 1)
    t.match(
      second.stderr,
      `TCP port 8080 is taken by process ${listener.pid} (listener), which listens on 0.0.0.0:8080`,
    )
    await listener.stop()

    t.match(run('gc', 'hostnet', '--attachments-from-cache'), { status: 0, stdout: /1 attachment kept/ })
    t.match(run('del', 'hostnet', host.path), { status: 0, stderr: '' })
    t.same(cached(), [])
    assertSameSnapshot(t, before, snapshot(host), 'the host is as before', ['files'])
  }),
)
