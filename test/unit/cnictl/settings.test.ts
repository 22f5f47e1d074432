import { createHash } from 'node:crypto'
import t from 'tap'
import type { Context, Input } from '../../../cnictl/command.ts'
import { containerIdOf, readAttachment, readRuntime } from '../../../cnictl/settings.ts'

function context(environment: Record<string, string> = {}): Context {
  return { environment, workingDirectory: () => '/cwd', warn: () => {}, signal: new AbortController().signal }
}

function input(words: (string | undefined)[], options: Input['options'] = {}): Input {
  return { arguments: words, options }
}

t.test("the container's id is cnitool's: from ten bytes of the SHA-512 of the namespace's path", async t => {
  const digest = createHash('sha512').update('/run/netns/blue').digest().subarray(0, 10).toString('hex')
  t.equal(containerIdOf('/run/netns/blue'), `cnitool-${digest}`)
})

t.test('a namespace is a name below /run/netns, a path, or a path from here', async t => {
  for (const [text, path] of [
    ['blue', '/run/netns/blue'],
    ['/proc/1/ns/net', '/proc/1/ns/net'],
    ['./blue', '/cwd/blue'],
    ['dir/blue', '/cwd/dir/blue'],
  ]) {
    const attachment = readAttachment(input(['demo', text]), context())
    t.equal(attachment.netns, path)
    t.equal(attachment.containerId, containerIdOf(path ?? ''))
  }
})

t.test('flags come before the environment, and that before the defaults; empty is not given', async t => {
  const environment = {
    CNI_IFNAME: 'net1',
    CNI_ARGS: 'A=1',
    CAP_ARGS: '{"mac": "x"}',
    CNI_PATH: '/p:/q',
    CNI_CONTAINERID: 'stale',
  }
  const words = ['demo', 'blue']
  const flags = { ifname: 'net2', args: 'B=2;C=3;', capabilityArgs: '{}', containerId: 'c1', pluginDir: 'rel:/abs' }
  t.match(readAttachment(input(words, flags), context(environment)), {
    ifname: 'net2',
    args: [
      ['B', '2'],
      ['C', '3'],
    ],
    containerId: 'c1',
    capabilityArgs: {},
  })
  t.match(readAttachment(input(words), context(environment)), {
    ifname: 'net1',
    args: [['A', '1']],
    capabilityArgs: { mac: 'x' },
    containerId: /^cnitool-/,
  })
  t.match(readAttachment(input(words, { ifname: '' }), context({ CNI_ARGS: '' })), {
    ifname: 'eth0',
    args: [],
    capabilityArgs: {},
  })
  t.same(readRuntime(input(words, flags), context(environment)).path, ['/cwd/rel', '/abs'])
  t.same(readRuntime(input(words), context(environment)).path, ['/p', '/q'])
  t.match(readRuntime(input(words), context()), { path: ['/opt/cni/bin'], cacheDirectory: '/var/lib/cni' })
})

t.test('what the command line leaves out is as it was at ADD', async t => {
  const cached = {
    network: 'demo',
    containerId: 'c1',
    ifname: 'eth0',
    result: { cniVersion: '1.1.0' },
    origin: { netns: '/run/netns/old', config: '', args: [['K', 'V'] as const], capabilityArgs: { ips: [] } },
  }
  t.match(readAttachment(input(['demo', undefined], { containerId: 'c1' }), context(), cached), {
    netns: '/run/netns/old',
    args: [['K', 'V']],
    capabilityArgs: { ips: [] },
  })
  t.match(readAttachment(input(['demo', 'new'], { containerId: 'c1', args: 'A=B' }), context(), cached), {
    netns: '/run/netns/new',
    args: [['A', 'B']],
  })
})

t.test('arguments that cannot be read are told with an example', async t => {
  for (const [options, message] of [
    [{ args: 'IP' }, /invalid pair "IP"/],
    [{ args: 'A=B=C' }, /invalid pair "A=B=C"/],
    [{ capabilityArgs: '{' }, /are not JSON: \{/],
    [{ capabilityArgs: '[]' }, /are no JSON object: \[\]/],
    [{ capabilityArgs: 'null' }, /are no JSON object: null/],
  ] as const) {
    t.throws(() => readAttachment(input(['demo', 'blue'], options), context()), {
      name: 'UsageError',
      message,
      remedy: /--/,
    })
  }
  t.throws(() => readAttachment(input(['demo', undefined]), context()), {
    name: 'UsageError',
    remedy: /--container-id/,
  })
})
