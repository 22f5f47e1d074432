/** The executables in surroundings that are bare, odd or hostile. */

import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type Answer,
  type Attachment,
  type Host,
  hostLocal,
  Network,
  pluginDirectory,
  subnets,
  withHost,
} from '../harness/index.ts'
import { readOnlyRoot } from '../harness/mounts.ts'

const dualStack = (host: Host) => hostLocal(host, subnets.ipv4, subnets.ipv6)
const backends = ['nftables', 'iptables'] as const

/** ADD, CHECK, STATUS, GC and DEL, each with the command line in front, each right, each with one document or none. */
function assertWorks(t: Test, host: Host, through: readonly string[], config: object = {}, environment = {}): void {
  for (const ipMasqBackend of backends) {
    const network = new Network(host, {
      name: ipMasqBackend,
      ipMasq: true,
      ipMasqBackend,
      ipam: dualStack(host),
      ...config,
    })
    const attachment = network.attachment()
    const run = (command: string, keys: object = {}) => {
      const answer = network.run({ ...attachment.request(command, keys), through, environment })
      t.equal(answer.status, 0, `${command}, ${ipMasqBackend}: ${answer.error?.msg ?? 'served'}`)
      t.equal(answer.stderr, '', `${command}: nothing on standard error`)
      if (command !== 'ADD') t.equal(answer.stdout, '', `${command} prints nothing`)
      return answer.json
    }
    const valid = [{ containerID: attachment.containerId, ifname: 'eth0' }]
    run('STATUS')
    const prevResult = run('ADD')
    t.same(attachment.container.addresses('eth0'), ['10.88.0.2/24', 'fd00:88::2/64'])
    run('CHECK', { prevResult })
    run('GC', { 'cni.dev/valid-attachments': valid })
    run('CHECK', { prevResult })
    run('DEL', { prevResult })
    t.same(attachment.container.links(), ['lo'])
  }
}

t.test('an environment of nothing but CNI_* is enough', t => withHost(t, host => assertWorks(t, host, [])))

t.test('a working directory that was deleted does not matter', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'gone')
    const script = `mkdir -p ${directory} && cd ${directory} && rmdir ${directory} && exec "$0"`
    assertWorks(t, host, ['/bin/sh', '-c', script])
  }),
)

t.test('a working directory that may not be read does not matter', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'closed')
    mkdirSync(directory)
    // Without the capabilities to pass over permissions root is refused as others are.
    const withoutOverride = '/usr/bin/setpriv --bounding-set=-dac_override,-dac_read_search'
    const script = `cd ${directory} && chmod 000 ${directory} && exec ${withoutOverride} "$0"`
    assertWorks(t, host, ['/bin/sh', '-c', script])
    chmodSync(directory, 0o700)
  }),
)

t.test('a root file system that is read-only, apart from /run and /var/lib, is enough', t =>
  withHost(t, host => assertWorks(t, host, readOnlyRoot(host))),
)

t.test('without dataDir addresses are kept below /var/lib/cni/networks, as host-local always did', t =>
  withHost(t, host => {
    const seen = join(host.directory, 'seen')
    // What it made is gone with the mounts: it is listed before.
    const through = [
      '/bin/sh',
      '-c',
      `"$0"; status=$?; cat /var/lib/cni/networks/podnet/10.88.0.2 >${seen}; exit $status`,
    ]
    const network = new Network(host, { ipam: { type: 'host-local', subnet: subnets.ipv4 } })
    const attachment = network.attachment({ containerId: 'c1' })
    const answer = network.run({ ...attachment.request('ADD'), through: [...readOnlyRoot(host), ...through] })
    t.equal(answer.status, 0, answer.error?.msg ?? 'ADD succeeds')
    t.equal(readFileSync(seen, 'utf8'), 'c1\r\neth0')
  }),
)

t.test('64 file descriptors are enough', t =>
  withHost(t, host => assertWorks(t, host, ['/usr/bin/prlimit', '--nofile=64'])),
)

t.test('a namespace path that is a symbolic link, or relative, works as the file does', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const link = join(host.directory, 'netns')
    symlinkSync(container.path, link)
    const network = new Network(host)
    for (const netns of [link, `../netns/${basename(container.path)}`]) {
      const attachment = network.attachment({ container, cwd: '/run/netns' })
      t.equal(network.run({ ...attachment.request('ADD'), netns }).status, 0, netns)
      t.same(container.links(), ['lo', 'eth0'])
      attachment.del({ netns })
      t.same(container.links(), ['lo'])
    }
  }),
)

t.test('files that Bun would read from the working directory are not read', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'hostile')
    const traces = join(directory, 'traces')
    mkdirSync(join(directory, 'node_modules/koffi'), { recursive: true })
    const evil = `require('node:fs').writeFileSync(${JSON.stringify(traces)}, 'run'); console.log('evil')`
    const files: Readonly<Record<string, string>> = {
      '.env': 'CNI_COMMAND=VERSION\nCNI_CONTAINERID=evil\nCNIKIT_FAIL_STEP=1\n',
      '.env.local': 'CNIKIT_FAIL_STEP=1\n',
      '.env.production': 'CNIKIT_FAIL_STEP=1\n',
      'bunfig.toml': 'preload = ["./evil.ts"]\n',
      '.bunfig.toml': 'preload = ["./evil.ts"]\n',
      'evil.ts': evil,
      'package.json': '{"name": "evil", "main": "evil.ts", "imports": {"#libc": "./evil.ts"}}',
      'tsconfig.json': '{"compilerOptions": {"paths": {"*": ["./evil.ts"]}}}',
      'node_modules/koffi/index.js': evil,
      'libc.so.6': 'no library',
    }
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
    assertWorks(
      t,
      host,
      ['/bin/sh', '-c', `cd ${directory} && exec "$0"`],
      {},
      { HOME: directory, XDG_CONFIG_HOME: directory },
    )
    t.notOk(existsSync(traces), 'nothing of it has run')
  }),
)

t.test('the executables work through symbolic links, and through a relative CNI_PATH', t =>
  withHost(t, host => {
    const directory = join(host.directory, 'bin')
    mkdirSync(directory)
    for (const name of ['bridge', 'host-local']) symlinkSync(join(pluginDirectory, name), join(directory, name))
    const network = new Network(host, {}, directory)
    const attachment = network.attach()
    t.equal(attachment.address, '10.88.0.2')
    attachment.del()
    const relative = network.attach({ cwd: directory, environment: { CNI_PATH: '.:..' } })
    t.equal(relative.address, '10.88.0.3')
  }),
)

t.test('root without its capabilities is told what it lacks', t =>
  withHost(t, host => {
    const network = new Network(host, { ipMasq: true })
    const attachment = network.attachment()
    const through = ['/usr/bin/setpriv', '--inh-caps=-all', '--bounding-set=-all']
    const { error } = network.run({ ...attachment.request('ADD'), through })
    t.match(error?.details, /CAP_NET_ADMIN/)
    t.not(error?.code, 199)
    t.same(host.links(), ['lo'])
  }),
)

interface Traced {
  readonly answer: Answer
  /** Paths that were opened for writing, made, renamed or removed. */
  readonly written: string[]
  /** Programs that were started beside the plugin itself. */
  readonly started: string[]
}

/** One run under strace. */
function trace(host: Host, network: Network, attachment: Attachment, command: string, keys: object = {}): Traced {
  const file = join(host.directory, 'trace')
  const through = ['/usr/bin/strace', '-f', '-qq', '-s', '300', '-o', file, '-e', 'trace=%file']
  const answer = network.run({ ...attachment.request(command, keys), through })
  if (answer.status !== 0) throw new Error(`${command}: ${answer.stdout}${answer.stderr}`)
  const lines = readFileSync(file, 'utf8').split('\n')
  const path = (line: string) => /"([^"]*)"/.exec(line)?.[1] ?? ''
  const changing =
    /\b(creat|mkdir|mkdirat|mknod|mknodat|rmdir|rename|renameat2?|link|linkat|symlink|symlinkat|unlink|unlinkat|truncate|chmod|fchmodat2?|chown|lchown|fchownat|utimensat|setxattr|mount|umount2?|chroot|pivot_root)\(/
  const opening = /\bopen(at2?)?\(.*\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND)\b/
  const done = lines.filter(line => !/ = -1 E/.test(line))
  return {
    answer,
    written: done.filter(line => changing.test(line) || opening.test(line)).map(path),
    started: done
      .filter(line => /\bexecve(at)?\(/.test(line))
      .map(path)
      .slice(1),
  }
}

/** What the kernel offers to be written to, which is no file that stays. */
const isKernels = (path: string) => path.startsWith('/proc/sys/net/') || /^\/dev\/(null|tty)$/.test(path)

for (const ipMasqBackend of backends)
  t.test(`no file is written outside of the state directory, and ${ipMasqBackend} runs what it needs and no more`, t =>
    withHost(t, host => {
      const network = new Network(host, { ipMasq: true, ipMasqBackend, ipam: dualStack(host) })
      network.attach()
      const attachment = network.attachment()
      const add = trace(host, network, attachment, 'ADD')
      const seen = new Map([['ADD', add]])
      const prevResult = add.answer.json
      for (const command of ['CHECK', 'STATUS', 'DEL'])
        seen.set(command, trace(host, network, attachment, command, { prevResult }))
      seen.set('GC', trace(host, network, attachment, 'GC', { 'cni.dev/valid-attachments': [] }))
      for (const [command, { written, started }] of seen) {
        const outside = written.filter(path => !path.startsWith(`${host.dataDirectory}/`) && !isKernels(path))
        // iptables keeps its own lock.
        const unexpected = outside.filter(path => path !== '/run/xtables.lock' && path !== host.dataDirectory)
        t.same(unexpected, [], `${command} writes nothing elsewhere`)
        const programs = new Set(started.map(path => basename(path)))
        if (ipMasqBackend === 'nftables') t.same([...programs], [], `${command} starts no program`)
        else
          t.same(
            [...programs].filter(name => !/^(ip6?tables-(save|restore)|setpriv|sh)$/.test(name)),
            [],
            `${command} starts iptables-save and iptables-restore alone`,
          )
      }
      t.ok(add.written.includes(`${host.dataDirectory}/podnet/10.88.0.3`), 'the address is among what is written')
    }),
  )
