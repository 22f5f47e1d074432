/** tuning's DEL, CHECK, GC and STATUS. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Attachment, deleteNamespaces, withHost } from '../harness/index.ts'
import { backups, behind, bridged, settingsOf, tuningDirectory, tuningNetwork } from './tuning-fixture.ts'

const keys = {
  mac: '02:00:00:00:77:01',
  mtu: 1400,
  promisc: true,
  allmulti: true,
  txQLen: 500,
  sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' },
}

t.test('DEL succeeds, and leaves no backup, whatever is gone', t =>
  withHost(t, host => {
    const network = tuningNetwork(host, keys)
    const situations: Readonly<Record<string, (main: Attachment, tuned: Attachment) => void>> = {
      'the namespace': main => deleteNamespaces([main.container.name]),
      'the interface': main => main.container.ip('link del eth0'),
      'the bridge': () => host.ip('link del br0'),
      'the backup': () => rmSync(tuningDirectory(host), { recursive: true }),
    }
    for (const [what, remove] of Object.entries(situations)) {
      const main = bridged(host).attach()
      const tuned = behind(main, network)
      tuned.add()
      remove(main, tuned)
      t.equal(tuned.del().stdout, '', `without ${what}`)
      t.equal(tuned.del({ withoutResult: true }).stdout, '', `without ${what}, again and without a result`)
      t.equal(tuned.del({ netns: '' }).stdout, '', `without ${what}, and CNI_NETNS`)
      t.same(backups(host), [], `without ${what}`)
      main.del()
    }
  }),
)

t.test('DEL succeeds with a wrong configuration, and still finds the backup', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = settingsOf(main)
    behind(main, tuningNetwork(host, keys)).add()
    behind(main, tuningNetwork(host, { ...keys, mtu: 'large', sysctl: 7, mac: 'x', promisc: 1 })).del()
    t.same(settingsOf(main), before)
    t.same(backups(host), [])
    for (const dataDir of [7, 'relative', '', null, '/proc/nowhere'])
      t.equal(behind(main, tuningNetwork(host, { dataDir })).del().stdout, '', `dataDir ${JSON.stringify(dataDir)}`)
  }),
)

t.test('a damaged backup is removed, and does no harm', t =>
  withHost(t, host => {
    const main = bridged(host).attach({ containerId: 'damaged' })
    const tuned = behind(main, tuningNetwork(host, keys))
    const before = settingsOf(main)
    mkdirSync(tuningDirectory(host), { recursive: true })
    const contents = [
      '',
      '{',
      'null',
      '[]',
      '7',
      '{"mac": 7, "mtu": "1400", "promisc": "yes", "allmulti": 1, "txQLen": -1, "hostMtu": {}}',
      '{"mac": "01:02", "mtu": -1, "txQLen": 1.5, "hostMtu": 4294967296}',
      '{"mtu": 99999999}',
      JSON.stringify({ mtu: 1300, interface: '1:2:3/4' }),
    ]
    for (const content of contents) {
      writeFileSync(join(tuningDirectory(host), 'damaged_eth0.json'), content)
      t.equal(tuned.del().stdout, '', content)
      t.same(settingsOf(main), before, content)
      t.same(backups(host), [], content)
    }
  }),
)

t.test('what of the backup can be restored is restored, and the rest is told', t =>
  withHost(t, host => {
    const main = bridged(host).attach({ containerId: 'partly' })
    mkdirSync(tuningDirectory(host), { recursive: true })
    const content = '{"mac": "02:00:00:00:00:0a", "mtu": 99999999, "allmulti": true}'
    writeFileSync(join(tuningDirectory(host), 'partly_eth0.json'), content)
    t.match(behind(main, tuningNetwork(host)).del().stderr, /cannot set MTU 99999999 of "eth0"/)
    t.match(settingsOf(main), { mac: '02:00:00:00:00:0a', mtu: 1500, allMulticast: true })
  }),
)

t.test('DEL leaves another interface alone that has the name by now', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const tuned = behind(main, tuningNetwork(host, keys))
    tuned.add()
    main.container.ip('link del eth0\nlink add eth0 mtu 1450 type ifb')
    tuned.del()
    t.equal(main.container.show('link', 'show', 'dev', 'eth0')[0]?.mtu, 1450)
    t.same(backups(host), [])
  }),
)

t.test('CHECK finds every setting that is not as configured', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const tuned = behind(main, tuningNetwork(host, keys))
    tuned.add()
    const { container, port } = main
    const changes: readonly (readonly [change: () => void, says: RegExp, repair: () => void])[] = [
      [
        () => container.ip('link set eth0 address 02:00:00:00:00:99'),
        /MAC address of "eth0" is 02:00:00:00:00:99, configured is 02:00:00:00:77:01/,
        () => container.ip(`link set eth0 address ${keys.mac}`),
      ],
      [
        () => container.ip('link set eth0 mtu 1401'),
        /MTU of "eth0" is 1401, configured is 1400/,
        () => container.ip('link set eth0 mtu 1400'),
      ],
      [
        () => host.ip(`link set ${port} mtu 1399`),
        new RegExp(`the host's end "${port}" of "eth0" has MTU 1399, configured is 1400`),
        () => host.ip(`link set ${port} mtu 1400`),
      ],
      [
        () => container.ip('link set eth0 promisc off'),
        /promiscuous mode of "eth0" is false, configured is true/,
        () => container.ip('link set eth0 promisc on'),
      ],
      [
        () => container.ip('link set eth0 allmulticast off'),
        /all-multicast mode of "eth0" is false, configured is true/,
        () => container.ip('link set eth0 allmulticast on'),
      ],
      [
        () => container.ip('link set eth0 txqueuelen 499'),
        /transmit queue length of "eth0" is 499, configured is 500/,
        () => container.ip('link set eth0 txqueuelen 500'),
      ],
      [
        () => container.output(['sysctl', '-qw', 'net.ipv4.conf.eth0.arp_filter=0']),
        /sysctl net\/ipv4\/conf\/eth0\/arp_filter is "0", configured is "1"/,
        () => container.output(['sysctl', '-qw', 'net.ipv4.conf.eth0.arp_filter=1']),
      ],
    ]
    for (const [change, says, repair] of changes) {
      change()
      const { error } = tuned.check()
      t.equal(error?.code, 105, String(says))
      t.match(error?.msg, says)
      repair()
      t.equal(tuned.check().stdout, '', 'and is content again')
    }
    container.ip('link del eth0')
    t.match(tuned.check().error, { code: 105 })
  }),
)

t.test('CHECK wants promiscuous mode off where nobody has asked for it, whatever programs listen to', t =>
  withHost(t, async host => {
    const main = bridged(host).attach()
    const tuned = behind(main, tuningNetwork(host, { mtu: 1400 }))
    tuned.add()
    main.container.ip('link set eth0 promisc on')
    t.match(tuned.check().error, { code: 105, msg: /promiscuous mode of "eth0" is true, configured is false/ })
    main.container.ip('link set eth0 promisc off')
    // A port of a bridge listens to everything, as a packet socket can.
    main.container.ip('link add br7 type bridge\nlink set eth0 master br7')
    t.equal(main.container.show('link', 'show', 'dev', 'eth0')[0]?.promiscuity, 1)
    t.equal(tuned.check().stdout, '')
  }),
)

t.test('GC removes the backups of lost attachments of its own network, and no others', t =>
  withHost(t, host => {
    const network = tuningNetwork(host, { mtu: 1400 })
    const [kept, lost] = ['kept', 'lost'].map(containerId => {
      const tuned = behind(bridged(host).attach({ containerId }), network)
      tuned.add()
      return tuned
    })
    behind(bridged(host).attach({ containerId: 'foreign' }), network.with({ name: 'othernet' })).add()
    const others = ['go_eth0.json', 'notes.txt', 'torn_eth0.json']
    writeFileSync(join(tuningDirectory(host), 'go_eth0.json'), '{\n "mtu": 1500\n}')
    writeFileSync(join(tuningDirectory(host), 'torn_eth0.json'), '')
    writeFileSync(join(tuningDirectory(host), 'notes.txt'), '{"network": "podnet"}')
    const all = ['foreign_eth0.json', 'go_eth0.json', 'kept_eth0.json', 'lost_eth0.json', 'notes.txt', 'torn_eth0.json']
    network.gc(undefined)
    t.same(backups(host), all, 'nobody has said what is valid')
    network.gc(kept === undefined ? [] : [kept])
    t.same(
      backups(host),
      all.filter(name => name !== 'lost_eth0.json'),
    )
    network.gc([])
    t.same(backups(host), ['foreign_eth0.json', ...others])
    rmSync(tuningDirectory(host), { recursive: true })
    network.gc([])
    t.equal(lost?.del().stdout, '')
  }),
)

t.test('STATUS tells a configuration that no ADD could carry out', t =>
  withHost(t, host => {
    t.equal(tuningNetwork(host, keys).status().stdout, '')
    t.match(tuningNetwork(host, { sysctl: { 'kernel.hostname': 'x' } }).status().error, { code: 7 })
    t.match(tuningNetwork(host, { mtu: 'large' }).status().error, { code: 7 })
  }),
)
