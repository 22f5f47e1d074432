/**
 * Requests of all kinds, made by chance: never anything but one JSON document, never an error that says nothing, never
 * a changed host after a refusal. They run on a read-only root: chance writes paths too.
 */

import fc from 'fast-check'
import t from 'tap'
import {
  type Answer,
  differences,
  type Host,
  hostLocal,
  Network,
  type NetworkNamespace,
  repetitions,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'
import { readOnlyRoot } from '../harness/mounts.ts'

/** Text without NUL, which no environment can hold; as JSON it may well be in a configuration. */
const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    '.',
    '..',
    '../..',
    '/',
    'a/b',
    '%s%d',
    'x'.repeat(16),
    'x'.repeat(300),
    'default',
    'lo',
    'br0',
    '-1',
    '0',
  ),
)
const prefix = fc.constantFrom(
  '10.88.0.0/24',
  '10.88.0.0/33',
  '10.88.0.7/24',
  '0.0.0.0/0',
  'fd00:88::/64',
  'fe80::/64',
  '::/0',
  'x',
)
const value = fc.oneof(
  text,
  prefix,
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    1,
    68,
    1500,
    4094,
    4095,
    65535,
    65536,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e308,
    0.5,
    [],
    {},
  ),
)

const keys = [
  ['cniVersion'],
  ['name'],
  ['bridge'],
  ['isGateway'],
  ['isDefaultGateway'],
  ['forceAddress'],
  ['ipMasq'],
  ['ipMasqBackend'],
  ['mtu'],
  ['hairpinMode'],
  ['promiscMode'],
  ['vlan'],
  ['vlanTrunk'],
  ['vlanTrunk', '0', 'id'],
  ['macspoofchk'],
  ['portIsolation'],
  ['disableContainerInterface'],
  ['dns'],
  ['dns', 'nameservers'],
  ['args'],
  ['args', 'cni', 'mac'],
  ['args', 'cni', 'ips'],
  ['runtimeConfig'],
  ['runtimeConfig', 'mac'],
  ['runtimeConfig', 'ips'],
  ['runtimeConfig', 'ipRanges'],
  ['prevResult'],
  ['prevResult', 'ips'],
  ['capabilities'],
  ['ipam'],
  ['ipam', 'type'],
  ['ipam', 'subnet'],
  ['ipam', 'gateway'],
  ['ipam', 'rangeStart'],
  ['ipam', 'ranges'],
  ['ipam', 'ranges', '0'],
  ['ipam', 'ranges', '0', '0', 'subnet'],
  ['ipam', 'ranges', '0', '0', 'gateway'],
  ['ipam', 'ranges', '0', '0', 'rangeEnd'],
  ['ipam', 'routes'],
  ['ipam', 'routes', '0', 'dst'],
  ['ipam', 'routes', '0', 'gw'],
  ['ipam', 'routes', '0', 'mtu'],
  ['ipam', 'routes', '0', 'table'],
  ['ipam', 'routes', '0', 'scope'],
  ['ipam', 'resolvConf'],
  ['ipam', 'dataDir'],
  ['cni.dev/valid-attachments'],
  ['cni.dev/valid-attachments', '0'],
  ['__proto__'],
  ['constructor', 'prototype', 'type'],
] as const

type Change = readonly [readonly string[], unknown]
const change: fc.Arbitrary<Change> = fc.tuple(fc.constantFrom<readonly string[]>(...keys), value)

/** The document with the values put in, and what is in their way replaced. */
function changed(document: object, changes: readonly Change[]): object {
  const copy = structuredClone(document)
  for (const [path, put] of changes) {
    let at = copy as Record<string, unknown>
    for (const key of path.slice(0, -1)) {
      if (typeof at[key] !== 'object' || at[key] === null) define(at, key, {})
      at = Object.getOwnPropertyDescriptor(at, key)?.value as Record<string, unknown>
    }
    define(at, path.at(-1) ?? '', put)
  }
  return copy
}

/** Assignment would set a prototype where the key is __proto__. */
function define(object: object, key: string, put: unknown): void {
  Object.defineProperty(object, key, { value: put, enumerable: true, configurable: true, writable: true })
}

function assertSensible(answer: Answer): void {
  const { status, signal, error, json, stderr } = answer
  if (signal !== undefined || (status !== 0 && status !== 1))
    throw new Error(`it ended with ${signal ?? status}: ${stderr}`)
  if (status === 0) return
  if (typeof error !== 'object' || !Number.isInteger(error.code) || error.code < 1)
    throw new Error(`no code: ${JSON.stringify(json)}`)
  if (error.code === 199) throw new Error(`a defect of ours: ${JSON.stringify(json)}`)
  if (typeof error.msg !== 'string' || error.msg === '') throw new Error(`no message: ${JSON.stringify(json)}`)
}

function assertUntouched(host: Host, container: NetworkNamespace, before: ReturnType<typeof snapshot>): void {
  const left = [...differences(before, snapshot(host)), ...container.links().filter(name => name !== 'lo')]
  if (left.length > 0) throw new Error(`left behind: ${left.join('\n')}`)
}

/** CNIKIT_FUZZ_RUNS asks for more. */
const options = { numRuns: Number(process.env.CNIKIT_FUZZ_RUNS ?? repetitions(60)), endOnFailure: true }

t.test('configurations changed by chance', t =>
  withHost(t, host => {
    const through = readOnlyRoot(host)
    const network = new Network(host, {
      ipam: { ...hostLocal(host, subnets.ipv4, subnets.ipv6), routes: [{ dst: '192.0.2.0/24' }] },
    })
    const container = host.createContainer()
    let before = snapshot(host)
    const outcomes = { served: 0, refused: 0 }
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), changes => {
        const config = changed(network.config, changes)
        const attachment = network.attachment({ container, containerId: 'fuzzed' })
        const request = { ...attachment.request('ADD'), config, through }
        const answer = network.run(request)
        assertSensible(answer)
        if (answer.status === 1) {
          outcomes.refused++
          return assertUntouched(host, container, before)
        }
        outcomes.served++
        const del = network.run({ ...request, command: 'DEL' })
        if (del.status !== 0) throw new Error(`DEL failed: ${del.stdout}`)
        for (const name of host.links()) if (name !== 'lo') host.ip(`link del ${name}`)
        host.output(['bash', '-c', 'nft flush ruleset; rm -rf "$0"/*', host.dataDirectory])
        if (container.links().length > 1) throw new Error(`DEL left ${container.links()}`)
        before = snapshot(host)
      }),
      options,
    )
    t.comment(`${outcomes.served} served, ${outcomes.refused} refused`)
    t.pass()
  }),
)

t.test('documents whose characters are changed by chance', t =>
  withHost(t, host => {
    const network = new Network(host)
    const through = readOnlyRoot(host)
    const { container, containerId } = network.attachment()
    const good = JSON.stringify(network.config)
    const before = snapshot(host)
    const edit = fc.tuple(fc.nat(good.length), fc.nat(3), fc.string({ unit: 'binary', maxLength: 3 }))
    fc.assert(
      fc.property(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.constantFrom('STATUS', 'GC', 'CHECK', 'DEL'),
        (edits, command) => {
          const config = edits.reduce((text, [at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut), good)
          assertSensible(network.run({ command, config, containerId, netns: container, ifname: 'eth0', through }))
        },
      ),
      options,
    )
    assertUntouched(host, container, before)
    t.pass()
  }),
)

t.test('environments made by chance', t =>
  withHost(t, host => {
    const network = new Network(host)
    const through = readOnlyRoot(host)
    const container = host.createContainer()
    const before = snapshot(host)
    const inEnvironment = text.map(one => one.replaceAll('\0', ''))
    const variable = (good: string) =>
      fc.oneof({ weight: 2, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: inEnvironment })
    const environments = fc.record(
      {
        CNI_COMMAND: fc.oneof(fc.constantFrom('CHECK', 'DEL', 'GC', 'STATUS', 'VERSION'), inEnvironment),
        CNI_CONTAINERID: variable('fuzzed'),
        CNI_NETNS: variable(container.path),
        CNI_IFNAME: variable('eth0'),
        CNI_ARGS: variable('IgnoreUnknown=1'),
        CNI_PATH: variable(network.pluginDir),
        CNIKIT_FAIL_STEP: inEnvironment,
        CNI_NETNS_OVERRIDE: inEnvironment,
        TRACEPARENT: inEnvironment,
        PATH: inEnvironment,
        HOME: inEnvironment,
      },
      { requiredKeys: ['CNI_COMMAND'] },
    )
    fc.assert(
      fc.property(environments, environment => {
        assertSensible(network.run({ config: network.config, environment, through }))
      }),
      options,
    )
    assertUntouched(host, container, before)
    t.pass()
  }),
)
