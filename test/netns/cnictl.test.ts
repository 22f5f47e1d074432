/** The executable cnictl, with the plugins beside it, as an operator runs it. */

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Result } from '../../lib/cni/types.ts'
import { type Host, type Outcome, pluginDirectory, programPath, withHost } from '../harness/index.ts'
import { deleteNamespaces } from '../harness/namespace.ts'

/** A configuration directory with one network, and cnictl called with it. */
function prepare(host: Host, cniVersion = '1.0.0') {
  const config = join(host.directory, 'net.d')
  const cache = join(host.directory, 'cache')
  mkdirSync(config)
  const bridge = {
    type: 'bridge',
    bridge: 'br0',
    isDefaultGateway: true,
    capabilities: { ips: true },
    ipam: {
      type: 'host-local',
      dataDir: host.dataDirectory,
      ranges: [[{ subnet: '10.78.0.0/24' }], [{ subnet: 'fd00:78::/64' }]],
    },
  }
  writeFileSync(join(config, 'demo.conflist'), JSON.stringify({ cniVersion, name: 'demo', plugins: [bridge] }))
  const environment = { PATH: programPath, NETCONFPATH: config, CNI_PATH: pluginDirectory }
  return {
    run: (...words: string[]): Outcome =>
      host.execute([join(pluginDirectory, 'cnictl'), ...words, '--cache-dir', cache], { environment }),
    cached: () => readdirSync(join(cache, 'results')),
    /** The addresses that host-local has given out. */
    taken: () =>
      // Refused before anything is changed, a request does not even make the directory.
      (existsSync(join(host.dataDirectory, 'demo')) ? readdirSync(join(host.dataDirectory, 'demo')) : [])
        .filter(name => /^[0-9a-f:.]+$/.test(name))
        .sort(),
  }
}

t.test('an attachment is added, checked, found broken, and deleted without a trace', t =>
  withHost(t, async host => {
    const { run, cached, taken } = prepare(host)
    const container = host.createContainer()
    const added = run('add', 'demo', container.name, '--json')
    t.equal(added.status, 0, added.stderr)
    const result = JSON.parse(added.stdout) as Result
    t.same(
      result.ips?.map(ip => ip.address),
      ['10.78.0.2/24', 'fd00:78::2/64'],
    )
    t.same(container.addresses('eth0').sort(), ['10.78.0.2/24', 'fd00:78::2/64'])
    t.ok(container.pings('10.78.0.1'))
    t.equal(cached().length, 1)

    t.match(run('check', 'demo', container.name), { status: 0, stdout: / is in order on network demo\n$/ })
    container.ip('addr del 10.78.0.2/24 dev eth0')
    t.match(run('check', 'demo', container.name), { status: 1, stderr: /plugin "bridge" failed at CHECK: .*/ })

    t.match(run('del', 'demo', container.name), { status: 0, stderr: '' })
    t.same([container.links(), cached(), taken()], [['lo'], [], []])
    t.match(run('del', 'demo', container.name), { status: 0, stderr: '' }, 'and once more')
  }),
)

t.test('what a person is shown names the interfaces, the addresses and the gateways', t =>
  withHost(t, async host => {
    const { run } = prepare(host)
    const container = host.createContainer()
    const { stdout } = run('add', 'demo', container.path, '-i', 'net1', '--container-id', 'c1')
    t.match(stdout, /^net1 of container c1 attached to network demo\n\nINTERFACE +MAC/)
    t.match(stdout, new RegExp(`^net1 +[0-9a-f:]{17} .*${container.path}$`, 'm'))
    t.match(stdout, /^10\.78\.0\.2\/24 +net1 +10\.78\.0\.1$/m)
    t.match(stdout, /^fd00:78::2\/64 +net1 +fd00:78::1$/m)
  }),
)

t.test('an ADD that fails leaves neither interface nor address', t =>
  withHost(t, async host => {
    const { run, taken } = prepare(host)
    const container = host.createContainer()
    const capabilities = JSON.stringify({ ips: ['10.78.0.9/24', '192.0.2.9/24'] })
    const { status, stderr } = run('add', 'demo', container.name, '--capability-args', capabilities)
    t.equal(status, 1)
    t.match(stderr, /^cnictl: undone: eth0 of container cnitool-/)
    t.match(stderr, /192\.0\.2\.9/)
    t.same([container.links(), taken()], [['lo'], []])
  }),
)

t.test('an ADD over an interface that is there fails, and leaves it alone', t =>
  withHost(t, async host => {
    const { run } = prepare(host)
    const container = host.createContainer()
    t.equal(run('add', 'demo', container.name).status, 0)
    const before = container.show('addr')
    const { status, stderr } = run('add', 'demo', container.name, '--container-id', 'other')
    t.equal(status, 1)
    t.match(stderr, /not undone: eth0 was in the namespace before/)
    t.same(container.show('addr'), before)
  }),
)

t.test('gc frees the addresses of attachments whose namespace is gone, and no others', t =>
  withHost(t, async host => {
    const { run, cached, taken } = prepare(host, '1.1.0')
    const [dead, living] = [host.createContainer(), host.createContainer()]
    t.equal(run('add', 'demo', dead.name).status, 0)
    t.equal(run('add', 'demo', living.name).status, 0)
    t.same(taken(), ['10.78.0.2', '10.78.0.3', 'fd00:78::2', 'fd00:78::3'])
    deleteNamespaces([dead.name])
    const { status, stdout, stderr } = run('gc', 'demo', '--attachments-from-cache')
    t.equal(status, 0, stderr)
    t.match(stdout, /^network demo: 1 attachment kept, 1 attachment deleted\n/)
    t.same([taken(), cached().length], [['10.78.0.3', 'fd00:78::3'], 1])
    t.ok(living.pings('10.78.0.1'))
    t.match(run('status', 'demo'), { status: 0, stdout: 'network demo is ready: bridge\n' })
  }),
)
