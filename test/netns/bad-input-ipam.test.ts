/** Address plugins that are missing, wrong or wrongly configured, as the bridge plugin meets them. */

import { copyFileSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Host, hostLocal, Network, pluginDirectory, withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'

/** A directory of address plugins, each a shell script; for CNI_PATH. */
function scripts(host: Host, bodies: Readonly<Record<string, string>>): string {
  const directory = join(host.directory, 'scripts')
  mkdirSync(directory)
  for (const [name, body] of Object.entries(bodies))
    writeFileSync(join(directory, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n[ $CNI_COMMAND = ADD ] || exit 0\n${body}\n`, {
      mode: 0o755,
    })
  writeFileSync(join(directory, 'not-executable'), '#!/bin/sh\n', { mode: 0o644 })
  writeFileSync(join(directory, 'no-program'), 'neither script nor program', { mode: 0o755 })
  mkdirSync(join(directory, 'a-directory'))
  copyFileSync('/usr/bin/true', join(directory, 'silent'))
  return directory
}

const answering = (document: object) => `cat <<'END'\n${JSON.stringify(document)}\nEND`
const withAddress = (address: unknown, more: object = {}) =>
  answering({ cniVersion: '1.1.0', ips: [{ address, ...more }] })

t.test('an address plugin that is not there or cannot answer', t =>
  withHost(t, host => {
    const directory = scripts(host, {
      garbage: 'echo "no JSON"',
      'half-a-document': `printf '{"ips": ['`,
      'says-nothing': 'exit 0',
      'fails-silently': 'exit 3',
      'fails-with-garbage': 'echo "panic: runtime error"; exit 2',
      'fails-properly': answering({
        cniVersion: '1.0.0',
        code: 123,
        msg: 'out of order',
        details: 'ring twice',
      }).concat('\nexit 1'),
      'fails-without-code': answering({ msg: 'no code' }).concat('\nexit 1'),
      dies: 'kill -9 $$',
      'other-version': answering({ cniVersion: '7.0.0', ips: [{ address: '10.88.0.2/24' }] }),
      'a-list': 'echo "[]"',
      'no-addresses': answering({ cniVersion: '1.1.0' }),
      'empty-list': answering({ cniVersion: '1.1.0', ips: [] }),
      'no-prefix-length': withAddress('10.88.0.2'),
      'long-prefix': withAddress('10.88.0.2/33'),
      'no-address': withAddress('ten'),
      'number-for-address': withAddress(10),
      'bad-gateway': withAddress('10.88.0.2/24', { gateway: '10.88.0.256' }),
      'bad-route': answering({
        cniVersion: '1.1.0',
        ips: [{ address: '10.88.0.2/24' }],
        routes: [{ dst: 'everywhere' }],
      }),
      'route-via-nowhere': answering({
        cniVersion: '1.1.0',
        ips: [{ address: '10.88.0.2/24' }],
        routes: [{ dst: '192.0.2.0/24', gw: '203.0.113.1' }],
      }),
      'group-address': withAddress('224.0.0.5/24'),
    })
    const CNI_PATH = `${pluginDirectory}:${directory}`
    const with106 = (type: string, says: RegExp, code = 106): Refusal => ({
      what: `ipam.type ${type}`,
      config: { isDefaultGateway: false, ipam: { type } },
      environment: { CNI_PATH },
      code,
      says,
    })
    const nothingThere = /^failed to find plugin ".*" in path \[/
    assertRefusals(t, host, () => [
      with106('nowhere', nothingThere),
      with106('a-directory', nothingThere),
      {
        ...with106('host-local', nothingThere),
        environment: { CNI_PATH: '/nowhere:relative:' },
        what: 'a CNI_PATH that leads nowhere',
      },
      with106('../host-local', /^invalid plugin name: "\.\.\/host-local"$/, 7),
      with106('/usr/lib/cni/host-local', /^invalid plugin name/, 7),
      with106('..', /^invalid plugin name/, 7),
      with106('not-executable', /^cannot run plugin ".*not-executable"/),
      with106('no-program', /^cannot run plugin ".*no-program"|gave no CNI answer/),
      with106('silent', /"silent" gave no CNI answer: it printed nothing/),
      with106('bridge', /bridge/, 7),
      with106('garbage', /"garbage" gave no CNI answer: it printed "no JSON/),
      with106('half-a-document', /gave no CNI answer: it printed/),
      with106('says-nothing', /gave no CNI answer: it printed nothing/),
      with106('fails-silently', /ended with status 3 and no error message/),
      with106('fails-with-garbage', /ended with status 2 and "panic: runtime error/),
      with106('fails-properly', /^out of order$/, 123),
      with106('fails-without-code', /ended with status 1 and /),
      with106('dies', /"dies" gave no CNI answer/),
      with106('other-version', /7\.0\.0/),
      with106('a-list', /"a-list" gave no/),
      with106('no-addresses', /answered without any address/),
      with106('empty-list', /answered without any address/),
      with106('no-prefix-length', /10\.88\.0\.2"/),
      with106('long-prefix', /10\.88\.0\.2\/33/),
      with106('no-address', /"ten"/),
      with106('number-for-address', /10/),
      with106('bad-gateway', /10\.88\.0\.256/),
      with106('bad-route', /everywhere/),
      with106('route-via-nowhere', /add route 192\.0\.2\.0\/24 via 203\.0\.113\.1/, 100),
    ])
  }),
)

t.test('the details of an address plugin’s error are passed on', t =>
  withHost(t, host => {
    const directory = scripts(host, {
      picky: answering({ code: 123, msg: 'out of order', details: 'ring twice' }).concat('\nexit 1'),
    })
    const network = new Network(host, { ipam: { type: 'picky' } })
    const { error } = network.attachment({ environment: { CNI_PATH: directory } }).tryAdd()
    t.match(error?.details, /ring twice/)
  }),
)

t.test('an address plugin that fails is told to DEL', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'plugins')
    mkdirSync(directory)
    writeFileSync(join(directory, 'noisy'), `#!/bin/sh\necho $CNI_COMMAND >>${directory}/log\nexit 1\n`, {
      mode: 0o755,
    })
    new Network(host, { ipam: { type: 'noisy' } }).attachment({ environment: { CNI_PATH: directory } }).tryAdd()
    t.equal(host.output(['cat', join(directory, 'log')]), 'ADD\nDEL\n')
  }),
)

t.test('the executable under another name in CNI_PATH is a program like any other', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'bin')
    mkdirSync(directory)
    const copy = join(directory, 'host-local')
    copyFileSync(join(pluginDirectory, 'host-local'), copy)
    linkSync(copy, join(directory, 'bridge'))
    const attachment = new Network(host).attach({ environment: { CNI_PATH: directory } })
    t.equal(attachment.address, '10.88.0.2')
    attachment.del()
  }),
)

t.test('host-local configured wrongly', t =>
  withHost(t, host => {
    const base = hostLocal(host)
    const ranges = (...sets: readonly object[][]) => ({ ipam: { ...base, ranges: sets } })
    const bad = (what: string, config: object, says: RegExp, code = 7): Refusal => ({ what, config, code, says })
    assertRefusals(t, host, () => [
      bad('no ranges', { ipam: { ...base, ranges: undefined } }, /^no IP ranges specified$/),
      bad('an empty list of ranges', ranges(), /^no IP ranges specified$/),
      bad('ranges that are no list', { ipam: { ...base, ranges: {} } }, /"ipam\.ranges" is \{\}/),
      bad('a list too few', { ipam: { ...base, ranges: [{ subnet: '10.88.0.0/24' }] } }, /"ipam\.ranges\[0\]"/),
      bad('a range without subnet', ranges([{ gateway: '10.88.0.1' }]), /"ipam\.ranges\[0\]\[0\]\.subnet" is missing/),
      bad(
        'a subnet that is none',
        ranges([{ subnet: '10.88.0/24' }]),
        /"ipam\.ranges\[0\]\[0\]\.subnet" is "10\.88\.0\/24"/,
      ),
      bad('a subnet without length', ranges([{ subnet: '10.88.0.0' }]), /"10\.88\.0\.0"/),
      bad('a subnet that is too small', ranges([{ subnet: '10.88.0.0/31' }]), /too small to allocate from/),
      bad('an IPv6 subnet that is too small', ranges([{ subnet: 'fd00::/127' }]), /too small to allocate from/),
      bad('a subnet with host bits', ranges([{ subnet: '10.88.0.5/24' }]), /Network has host bits set/),
      bad(
        'a start outside of the subnet',
        ranges([{ subnet: '10.88.0.0/24', rangeStart: '10.89.0.5' }]),
        /10\.89\.0\.5/,
      ),
      bad('a start of another family', ranges([{ subnet: '10.88.0.0/24', rangeStart: 'fd00::5' }]), /fd00::5/),
      bad(
        'an end before the start',
        ranges([{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.9', rangeEnd: '10.88.0.5' }]),
        /10\.88\.0\.[95]/,
      ),
      bad('two families in one set', ranges([{ subnet: '10.88.0.0/24' }, { subnet: 'fd00::/64' }]), /famil|mixed|mix/i),
      bad('overlapping ranges in a set', ranges([{ subnet: '10.88.0.0/24' }, { subnet: '10.88.0.0/25' }]), /overlap/),
      bad('overlapping sets', ranges([{ subnet: '10.88.0.0/24' }], [{ subnet: '10.88.0.128/25' }]), /overlap/),
      bad('a data directory that is relative', { ipam: { ...base, dataDir: '../data' } }, /"ipam\.dataDir"/),
      bad('a data directory that is a number', { ipam: { ...base, dataDir: 7 } }, /"ipam\.dataDir" is 7/),
      bad('a data directory that is a file', { ipam: { ...base, dataDir: '/dev/null' } }, /\/dev\/null/, 5),
      bad('a route that is none', { ipam: { ...base, routes: [{ dst: 'everywhere' }] } }, /everywhere/),
      bad('a route without destination', { ipam: { ...base, routes: [{ gw: '10.88.0.1' }] } }, /dst" is missing/),
      bad('routes that are no list', { ipam: { ...base, routes: '0.0.0.0/0' } }, /"ipam\.routes"/),
      bad(
        'a resolv.conf that is not there',
        { ipam: { ...base, resolvConf: '/nowhere/resolv.conf' } },
        /\/nowhere\/resolv\.conf/,
      ),
      bad('a requested address of another network', { runtimeConfig: { ips: ['10.99.0.5'] } }, /10\.99\.0\.5/),
      bad("a requested address that is the gateway's", { runtimeConfig: { ips: ['10.88.0.1'] } }, /10\.88\.0\.1/),
      bad('a requested address that is none', { args: { cni: { ips: ['five'] } } }, /five/),
      {
        ...bad(
          'two ranges of a family in 0.2.0',
          { ...ranges([{ subnet: '10.88.0.0/24' }], [{ subnet: '10.89.0.0/24' }]), cniVersion: '0.2.0' },
          /^CNI version 0\.2\.0 does not support more than 1 address per family$/,
        ),
      },
    ])
  }),
)

t.test('a requested address that another container has', t =>
  withHost(t, host => {
    const network = new Network(host)
    const owner = network.attach({ config: { runtimeConfig: { ips: ['10.88.0.77'] } } })
    t.equal(owner.address, '10.88.0.77')
    const second = network.attachment({ config: { runtimeConfig: { ips: ['10.88.0.77'] } } })
    const { error } = second.tryAdd()
    t.equal(error?.code, 103)
    t.match(error?.msg, /10\.88\.0\.77/)
    t.same(second.container.links(), ['lo'])
    t.equal(owner.check().stdout, '')
  }),
)
