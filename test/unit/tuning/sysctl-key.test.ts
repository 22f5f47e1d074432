import fc from 'fast-check'
import t from 'tap'
import { sysctlSettings } from '../../../plugins/tuning/sysctl-key.ts'

const namesOf = (key: string, ifname = 'eth0') => sysctlSettings({ [key]: '1' }, {}, ifname)[0]?.names

t.test('a key means the file that sysctl(8) would take, then the one that the Go plugin would', async t => {
  const keys: Readonly<Record<string, readonly string[]>> = {
    'net.ipv4.ip_forward': ['net/ipv4/ip_forward'],
    'net/ipv4/ip_forward': ['net/ipv4/ip_forward'],
    '/net//ipv4/ip_forward/': ['net/ipv4/ip_forward'],
    'net.ipv4.conf.IFNAME.arp_filter': ['net/ipv4/conf/eth0/arp_filter'],
    'net/ipv4/conf/IFNAME/arp_filter': ['net/ipv4/conf/eth0/arp_filter'],
    'net.ipv4.conf.eth0/7.arp_filter': ['net/ipv4/conf/eth0.7/arp_filter', 'net/ipv4/conf/eth0/7/arp_filter'],
    'net/ipv4/conf/eth0.7/arp_filter': ['net/ipv4/conf/eth0.7/arp_filter', 'net/ipv4/conf/eth0/7/arp_filter'],
    'net.ipv4/ip_forward': ['net/ipv4.ip_forward', 'net/ipv4/ip_forward'],
  }
  for (const [key, names] of Object.entries(keys)) t.same(namesOf(key), names, key)
  t.same(namesOf('net.ipv4.conf.IFNAME.arp_filter', 'eth0.7'), ['net/ipv4/conf/eth0.7/arp_filter'])
  t.same(namesOf('net.IFNAME.IFNAME', 'x'), ['net/x/IFNAME'], 'the first IFNAME alone')
})

t.test('no key leads out of net/', async t => {
  const keys = ['', 'net', 'net.', 'kernel.hostname', 'vm/swappiness', 'network.x', '../net/ipv4/ip_forward']
  const climbing = ['net/../kernel/hostname', 'net.//.kernel.hostname', 'net/ipv4/../../kernel/hostname', 'net/./x']
  for (const key of [...keys, ...climbing])
    t.throws(() => namesOf(key), { code: 7, message: `invalid net sysctl key: ${JSON.stringify(key)}` }, key)
  const part = fc.constantFrom('net', 'kernel', '.', '..', '/', 'IFNAME', 'a', '//', './')
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), parts => {
      try {
        return (namesOf(parts.join('')) ?? []).every(
          name =>
            name.startsWith('net/') && !name.split('/').some(step => step === '..' || step === '.' || step === ''),
        )
      } catch {
        return true
      }
    }),
  )
})

t.test('a sysctl in both notations is refused, and replaced by that of the arguments', async t => {
  const twice = { 'net.ipv4.ip_forward': '1', 'net/ipv4/ip_forward': '0' }
  t.throws(() => sysctlSettings(twice, {}, 'eth0'), { code: 7, message: /"sysctl" has net\/ipv4\/ip_forward twice/ })
  t.match(sysctlSettings({ 'net.ipv4.ip_forward': '1', 'net.a': '2' }, { 'net/ipv4/ip_forward': '0' }, 'eth0'), [
    { key: 'net/ipv4/ip_forward', value: '0' },
    { key: 'net.a', value: '2' },
  ])
})

t.test('a value is one line', async t => {
  for (const value of ['1\n', '1\r', 'a\0b', '\u001b'])
    t.throws(() => sysctlSettings({ 'net.a': value }, {}, 'eth0'), { code: 7, message: /has a control character/ })
  t.throws(() => sysctlSettings({ 'net.a\n': '1' }, {}, 'eth0'), { code: 7 })
  t.equal(sysctlSettings({ 'net.a': '1\t2' }, {}, 'eth0')[0]?.value, '1\t2')
})
