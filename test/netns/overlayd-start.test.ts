/** How overlayd ends that cannot start: its unit starts it again, unless only another configuration helps. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Host, type Outcome, pluginDirectory, withHost } from '../harness/index.ts'

const etcd = { endpoints: ['http://192.0.2.201:2379'] }

function overlayd(host: Host, settings: object, ...words: string[]): Outcome {
  const directory = join(host.directory, 'settings')
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'overlayd.yaml')
  writeFileSync(file, JSON.stringify({ socket: join(host.directory, 'overlayd.sock'), ...settings }))
  return host.execute([join(pluginDirectory, 'overlayd'), '--settings', file, ...words])
}

t.test('what the host may have later ends overlayd with status 1: it is started again', t =>
  withHost(t, host => {
    const cases: [object, RegExp][] = [
      [{ address: '192.0.2.1' }, /192\.0\.2\.1 is no address of this host/],
      [{ interface: 'uplink' }, /there is no interface "uplink"/],
      [{ interface: 'lo', family: 6 }, /"lo" has no IPv6 address/],
    ]
    for (const [tunnel, message] of cases) {
      const { status, stderr } = overlayd(host, { etcd, ...tunnel })
      t.equal(status, 1, JSON.stringify(tunnel))
      t.match(stderr, message)
      t.match(stderr, /set "address".* or "interface"/)
    }
  }),
)

t.test('what only other settings mend ends it with status 78: it is not started again', t =>
  withHost(t, host => {
    const local = { address: '127.0.0.1' }
    const cases: [object, RegExp][] = [
      [{ ...local }, /etcd/],
      [{ etcd }, /"address" is missing/],
      [{ etcd, ...local, interface: 'lo' }, /both "address" and "interface"/],
      [{ etcd, address: 'node-1' }, /no IP address/],
      [{ etcd, ...local, leaseSeconds: 4 }, /leaseSeconds/],
      [{ etcd, ...local, colour: 'red' }, /colour/],
      [{ etcd, ...local, metrics: '0.0.0.0:9478' }, /loopback/],
      [{ etcd: { ...etcd, cert: '/nowhere' }, ...local }, /"etcd\.cert" and "etcd\.key" go together/],
      [{ etcd, ...local, mesh: { subnet: 'all' } }, /"mesh\.subnet" is "all"/],
    ]
    for (const [settings, message] of cases) {
      const { status, stderr } = overlayd(host, settings)
      t.equal(status, 78, JSON.stringify(settings))
      t.match(stderr, message)
    }
  }),
)

t.test('flags are told by --help, and refused when there is no such flag', t =>
  withHost(t, host => {
    const help = overlayd(host, {}, '--help')
    t.equal(help.status, 0)
    t.match(help.stdout, /--etcd-endpoints/)
    t.match(overlayd(host, {}, '--version'), { status: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
    t.match(overlayd(host, {}, '--colour'), { status: 2, stderr: /unknown option '--colour'/ })
  }),
)
