/** Requests that are wrong in themselves: the document on standard input, the namespace. */

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { answerOf, differences, execute, Network, pluginDirectory, snapshot, withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'

const notJson = /^error unmarshall network config: /

t.test('standard input that is no network configuration', t =>
  withHost(t, host => {
    const documents: readonly Refusal[] = [
      { what: 'nothing', config: '', code: 6, says: /the text ends/ },
      { what: 'blanks', config: ' \n\t ', code: 6, says: /the text ends/ },
      { what: 'no JSON', config: 'cniVersion: 1.1.0', code: 6, says: /line 1, column 1: found "cniVersion/ },
      { what: 'JSON that is cut', config: '{"cniVersion": "1.1.0", "name": "po', code: 6, says: notJson },
      {
        what: 'a comma too many',
        config: '{\n  "name": "podnet",\n}',
        code: 6,
        says: /line 3, column 1: found "}", expected a key/,
      },
      { what: 'a comment', config: '{"name": "podnet" /* ours */}', code: 6, says: notJson },
      { what: 'single quotes', config: "{'name': 'podnet'}", code: 6, says: notJson },
      { what: 'two documents', config: '{"name": "one"}{"name": "two"}', code: 6, says: /expected the end/ },
      { what: 'a list', config: '[]', code: 6, says: /not a JSON object/ },
      { what: 'a text', config: '"podnet"', code: 6, says: /not a JSON object/ },
      { what: 'null', config: 'null', code: 6, says: /not a JSON object/ },
      { what: 'a NUL character in it', config: '{"name": "pod\0net"}', code: 6, says: notJson },
      { what: 'a million brackets', config: '['.repeat(1_000_000), code: 6, says: notJson },
      { what: '20 MB of no JSON', config: 'x'.repeat(20_000_000), code: 6, says: notJson },
      { what: '20 MB of a name', config: { name: 'x/'.repeat(10_000_000) }, code: 7, says: /network name/ },
      {
        what: 'bytes that are no UTF-8',
        config: new Uint8Array([
          ...new TextEncoder().encode('{"name": "pod'),
          0xff,
          0xfe,
          ...new TextEncoder().encode('"}'),
        ]),
        code: 7,
        says: /invalid characters found in network name/,
      },
    ]
    for (const plugin of ['bridge', 'host-local'])
      assertRefusals(t, host, () => documents.map(one => ({ ...one, plugin })))
    assertRefusals(t, host, () => documents.map(one => ({ ...one, plugin: 'loopback', command: 'DEL' })))
  }),
)

t.test('keys that every configuration has', t =>
  withHost(t, host => {
    assertRefusals(t, host, () => [
      { what: 'no name', config: { name: undefined }, code: 7, says: /^missing network name$/ },
      { what: 'an empty name', config: { name: '' }, code: 7, says: /^missing network name$/ },
      { what: 'a name that is null', config: { name: null }, code: 7, says: /^missing network name$/ },
      { what: 'a name that is a number', config: { name: 5 }, code: 7, says: /"name" is 5, but must be a string/ },
      {
        what: 'a name with a slash',
        config: { name: 'pod/net' },
        code: 7,
        says: /invalid characters found in network name/,
      },
      { what: 'a name that leads elsewhere', config: { name: '../../etc' }, code: 7, says: /invalid characters/ },
      { what: 'a name that is two dots', config: { name: '..' }, code: 7, says: /invalid characters/ },
      { what: 'a name with a line feed at its end', config: { name: 'podnet\n' }, code: 7, says: /invalid characters/ },
      { what: 'a name with an umlaut', config: { name: 'pödnet' }, code: 7, says: /invalid characters/ },
      { what: 'a version to come', config: { cniVersion: '1.2.0' }, code: 1, says: /^incompatible CNI versions$/ },
      {
        what: 'a version that never was',
        config: { cniVersion: '0.5.0' },
        code: 1,
        says: /^incompatible CNI versions$/,
      },
      {
        what: 'a version with a blank',
        config: { cniVersion: ' 1.0.0' },
        code: 1,
        says: /^incompatible CNI versions$/,
      },
      {
        what: 'a version that is a number',
        config: { cniVersion: 1 },
        code: 7,
        says: /"cniVersion" is 1, but must be a string/,
      },
      {
        what: 'ipam that is a text',
        config: { ipam: 'host-local' },
        code: 7,
        says: /"ipam" is "host-local", but must be an object/,
      },
      { what: 'ipam that is a list', config: { ipam: [] }, code: 7, says: /"ipam" is \[\], but must be an object/ },
      { what: 'ipam.type that is a number', config: { ipam: { type: 1 } }, code: 7, says: /"ipam\.type" is 1/ },
      { what: 'dns that is a text', config: { dns: '192.0.2.1' }, code: 7, says: /"dns" is "192\.0\.2\.1"/ },
      {
        what: 'name servers that are no list',
        config: { dns: { nameservers: '192.0.2.1' } },
        code: 7,
        says: /"dns\.nameservers"/,
      },
      { what: 'args that are a text', config: { args: 'mac' }, code: 7, says: /"args" is "mac"/ },
      { what: 'args.cni that is a list', config: { args: { cni: [] } }, code: 7, says: /"args\.cni" is \[\]/ },
      { what: 'runtimeConfig that is a list', config: { runtimeConfig: [] }, code: 7, says: /"runtimeConfig" is \[\]/ },
      {
        what: 'a capability that is a text',
        config: { capabilities: { mac: 'yes' } },
        code: 7,
        says: /"capabilities\.mac"/,
      },
      { what: 'prevResult that is a text', config: { prevResult: 'none' }, code: 7, says: /"prevResult" is "none"/ },
      {
        what: 'prevResult of another family of versions',
        config: { prevResult: { cniVersion: '0.2.0', ip4: { ip: '10.1.0.5/24' } } },
        code: 7,
        says: /prevResult: .*0\.2\.0/,
      },
      {
        what: 'prevResult with an address that is none',
        config: { prevResult: { cniVersion: '1.1.0', ips: [{ address: '10.1.0.555/24' }] } },
        code: 7,
        says: /prevResult: .*10\.1\.0\.555/,
      },
      {
        what: 'valid attachments that are no list',
        command: 'GC',
        config: { 'cni.dev/valid-attachments': {} },
        code: 7,
        says: /"cni\.dev\/valid-attachments" is \{\}/,
      },
      {
        what: 'a valid attachment without a container',
        command: 'GC',
        config: { 'cni.dev/valid-attachments': [{ ifname: 'eth0' }] },
        code: 7,
        says: /containerID" is missing/,
      },
    ])
  }),
)

t.test('a namespace that is none, or the wrong one', t =>
  withHost(t, host => {
    const at = (name: string) => join(host.directory, name)
    writeFileSync(at('file'), '')
    mkdirSync(at('directory'))
    symlinkSync(at('nowhere'), at('dangling'))
    execute(['mkfifo', at('fifo')])
    const other = host.createContainer()
    const notOne = (
      what: string,
      CNI_NETNS: string,
      says = /^failed to open netns ".*": not a network namespace$/,
    ): Refusal[] =>
      ['ADD', 'CHECK'].map(command => ({
        what: `${command} with ${what}`,
        command,
        environment: { CNI_NETNS },
        config: { prevResult: { cniVersion: '1.1.0' } },
        code: 8,
        says,
      }))
    const own = /^plugin's netns and netns from CNI_NETNS should not be the same$/
    assertRefusals(t, host, () => [
      ...notOne('a path that is not there', '/run/netns/cnikit-never', /no such file or directory/),
      ...notOne('a link that leads nowhere', at('dangling'), /no such file or directory/),
      ...notOne('a path through a file', `${at('file')}/netns`, /not a directory|ENOTDIR|no such/i),
      ...notOne('a regular file', at('file')),
      ...notOne('a directory', at('directory')),
      ...notOne('a FIFO, which nobody writes to', at('fifo')),
      ...notOne('a device', '/dev/null'),
      ...notOne('a mount namespace', '/proc/self/ns/mnt', /a namespace, but not a network namespace/),
      ...notOne('a process id namespace', '/proc/self/ns/pid', /a namespace, but not a network namespace/),
      ...notOne('a text of 5000 letters', `/${'x'.repeat(5000)}`, /failed to open netns/),
      ...notOne("the host's own namespace", host.path, own),
      ...notOne("the host's own namespace by another name", '/proc/self/ns/net', own),
      {
        what: "DEL in the host's own namespace",
        command: 'DEL',
        environment: { CNI_NETNS: host.path },
        code: 8,
        says: own,
      },
    ])
    other.ip('link add eth0 type bridge')
    const attachment = new Network(host).attachment({ container: other })
    const { error } = attachment.tryAdd()
    t.equal(error?.code, 104)
    t.match(error?.msg, /interface "eth0" already exists in the namespace/)
    t.same(other.links(), ['lo', 'eth0'], 'the interface that was there is there')
  }),
)

t.test('what is unusual and right is taken', t =>
  withHost(t, host => {
    const network = new Network(host, { ipMasq: true })
    const unusual: Readonly<Record<string, Parameters<Network['attachment']>[0]>> = {
      'a container id of 1000 letters': { containerId: 'x'.repeat(1000) },
      'a container id of one letter': { containerId: 'x' },
      'an interface name of 15 bytes': { ifname: 'x'.repeat(15) },
      'an interface name of 7 letters and 14 bytes': { ifname: 'üüüüüüü' },
      'an interface name of punctuation': { ifname: '"$(x)\';&' },
      'a configuration of 5 MB': { config: { comment: 'x'.repeat(5_000_000) } },
      'a network name of 250 letters': { config: { name: 'n'.repeat(250) } },
      'keys that nobody knows, and null': { config: { frob: [1], mtu: null, dns: null, ipMasqBackend: null } },
      'a list of nothing in CNI_ARGS': { args: '' },
      "the kubelet's CNI_ARGS": { args: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;FOO=bar' },
    }
    for (const [claim, options] of Object.entries(unusual)) {
      const attachment = network.attachment(options)
      const answer = attachment.tryAdd()
      t.equal(answer.status, 0, `${claim}: ${answer.error?.msg ?? 'ADD'}`)
      t.equal(attachment.check().stdout, '', `${claim}: CHECK`)
      attachment.del()
      t.same(attachment.container.links(), ['lo'], `${claim}: DEL`)
    }
  }),
)

t.test('without CNI_COMMAND the plugins say on standard error what they are', t =>
  withHost(t, host => {
    const before = snapshot(host)
    for (const plugin of ['bridge', 'host-local', 'loopback']) {
      const { status, stdout, stderr } = host.execute([join(pluginDirectory, plugin)], { environment: {} })
      t.strictSame({ status, stdout }, { status: 0, stdout: '' })
      t.match(stderr, new RegExp(`CNI plugin ${plugin}[^]*versions supported: 0\\.1\\.0, .*1\\.1\\.0`))
    }
    t.same(differences(before, snapshot(host)), [])
  }),
)

t.test('VERSION is answered whatever stands on standard input', t =>
  withHost(t, host => {
    for (const input of ['', 'garbage', '{"cniVersion": "9.9.9"}']) {
      const environment = { CNI_COMMAND: 'VERSION', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_PATH: 'dummy' }
      const { json } = answerOf(host.execute([join(pluginDirectory, 'bridge')], { environment, input }))
      t.same(json, {
        cniVersion: '1.1.0',
        supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
      })
    }
  }),
)
