import { Buffer } from 'node:buffer'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { Attachment } from '../../../lib/runtime/index.ts'
import { deleteCache, listCache, readCache, writeCache } from '../../../lib/runtime/index.ts'
import { writeFiles } from './fake-plugins.ts'

const network = { name: 'demo', text: '{"cniVersion": "1.0.0", "name": "demo", "plugins": []}' }
const attachment: Attachment = {
  containerId: 'c1',
  ifname: 'eth0',
  netns: '/run/netns/blue',
  args: [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAME', 'web'],
  ],
  capabilityArgs: { ips: ['10.1.0.5'] },
}
const result = { cniVersion: '1.0.0', ips: [{ address: '10.1.0.5/16' }] }

t.test('what is written has the format of libcni', async t => {
  const directory = `${t.testdir()}/new`
  writeCache(directory, network, attachment, result)
  const text = readFileSync(`${directory}/results/demo-c1-eth0`, 'utf8')
  t.same(JSON.parse(text), {
    kind: 'cniCacheV1',
    containerId: 'c1',
    config: Buffer.from(network.text).toString('base64'),
    ifName: 'eth0',
    networkName: 'demo',
    netns: '/run/netns/blue',
    cniArgs: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAME', 'web'],
    ],
    capabilityArgs: { ips: ['10.1.0.5'] },
    result,
  })
  t.equal(statSync(`${directory}/results`).mode & 0o777, 0o700)
  t.equal(statSync(`${directory}/results/demo-c1-eth0`).mode & 0o777, 0o600)
  t.same(readdirSync(directory), ['results'], 'no temporary file stays')
})

t.test('empty parts are left out, as omitempty does', async t => {
  const directory = t.testdir()
  writeCache(directory, network, { ...attachment, netns: '', args: [], capabilityArgs: {} }, result)
  const document: unknown = JSON.parse(readFileSync(`${directory}/results/demo-c1-eth0`, 'utf8'))
  t.same(Object.keys(document as object), ['kind', 'containerId', 'config', 'ifName', 'networkName', 'result'])
})

t.test('what was written is read again, and a second write replaces the first', async t => {
  const directory = t.testdir()
  writeCache(directory, network, attachment, { cniVersion: '1.0.0' })
  writeCache(directory, network, attachment, result)
  t.same(readCache(directory, 'demo', attachment), {
    network: 'demo',
    containerId: 'c1',
    ifname: 'eth0',
    result,
    origin: {
      netns: attachment.netns,
      config: network.text,
      args: attachment.args,
      capabilityArgs: attachment.capabilityArgs,
    },
  })
  t.equal(deleteCache(directory, 'demo', attachment), true)
  t.equal(deleteCache(directory, 'demo', attachment), false)
  t.equal(readCache(directory, 'demo', attachment), undefined)
})

t.test('a bare result, the older format, is read; one without a version is of 0.1.0', async t => {
  const directory = t.testdir()
  writeFiles(directory, { 'results/demo-c1-eth0': result, 'results/demo-c2-eth0': { ip4: { ip: '10.1.0.5/16' } } })
  t.same(readCache(directory, 'demo', attachment), { network: 'demo', containerId: 'c1', ifname: 'eth0', result })
  t.equal(readCache(directory, 'demo', { containerId: 'c2', ifname: 'eth0' })?.result.cniVersion, '0.1.0')
})

t.test('another attachment whose names run together to the same file is not taken for this one', async t => {
  const directory = t.testdir()
  writeCache(directory, { name: 'a-b', text: '{}' }, { ...attachment, containerId: 'c' }, result)
  t.equal(readCache(directory, 'a', { containerId: 'b-c', ifname: 'eth0' }), undefined)
  t.ok(readCache(directory, 'a-b', { containerId: 'c', ifname: 'eth0' }))
})

t.test('a torn file is an error that names the file', async t => {
  const whole = { kind: 'cniCacheV1', containerId: 'c1', ifName: 'eth0', networkName: 'demo', config: '', result }
  const cases: [unknown, RegExp][] = [
    ['', /it is empty/],
    [JSON.stringify(whole).slice(0, 40), /it is no JSON$/],
    ['\0\0\0\0\0\0', /it is no JSON$/],
    ['[]', /it is no JSON object/],
    ['null', /it is no JSON object/],
    [{ ...whole, networkName: '' }, /does not say whose it is/],
    [{ ...whole, containerId: 5 }, /does not say whose it is/],
    [{ ...whole, result: undefined }, /holds no result/],
    [{ ...whole, result: [] }, /holds no result/],
    [{ ...whole, result: { cniVersion: 1 } }, /version of its result is no string/],
  ]
  for (const [content, message] of cases) {
    const directory = t.testdir()
    writeFiles(directory, { 'results/demo-c1-eth0': content })
    const error = { code: 6, message }
    t.throws(() => readCache(directory, 'demo', attachment), error, JSON.stringify(content))
    t.throws(() => readCache(directory, 'demo', attachment), { message: /demo-c1-eth0/ })
  }
})

t.test('parts of another shape are ignored where DEL can do without them', async t => {
  const directory = t.testdir()
  const odd = { cniArgs: [['K'], 'x', ['A', 'B'], [1, 2]], capabilityArgs: 'x', netns: 5, config: 5 }
  const whole = { kind: 'cniCacheV1', containerId: 'c1', ifName: 'eth0', networkName: 'demo', result }
  writeFiles(directory, { 'results/demo-c1-eth0': { ...whole, ...odd } })
  t.same(readCache(directory, 'demo', attachment)?.origin, {
    netns: '',
    config: '',
    args: [['A', 'B']],
    capabilityArgs: {},
  })
})

t.test('a listing leaves out bare results, and tells of files that cannot be used', async t => {
  const directory = t.testdir()
  writeCache(directory, network, { ...attachment, containerId: 'c2' }, result)
  writeCache(directory, network, attachment, result)
  writeFiles(directory, { 'results/bare-c9-eth0': result, 'results/torn-c9-eth0': '' })
  mkdirSync(`${directory}/results/directory`)
  const warnings: string[] = []
  t.same(
    listCache(directory, message => warnings.push(message)).map(({ containerId }) => containerId),
    ['c1', 'c2'],
  )
  t.match(warnings, [/EISDIR/, /torn-c9-eth0" cannot be used: it is empty/])
  t.equal(warnings.length, 2)
})

t.test('no cache is an empty one', async t => {
  const directory = t.testdir()
  t.same(listCache(`${directory}/none`, t.fail), [])
  t.equal(readCache(`${directory}/none`, 'demo', attachment), undefined)
})

t.test('a cache that cannot be written leaves nothing behind', async t => {
  const directory = t.testdir()
  mkdirSync(`${directory}/results/demo-c1-eth0`, { recursive: true })
  writeFileSync(`${directory}/results/demo-c1-eth0/file`, '')
  t.throws(() => writeCache(directory, network, attachment, result), { code: /EISDIR|EEXIST|ENOTEMPTY/ })
  t.same(readdirSync(directory), ['results'])
})
