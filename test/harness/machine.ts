/**
 * A host with files and processes of its own besides its network: for container runtimes, which write to /run,
 * /var/lib and /etc and leave processes about. It ends as a whole: when its first process dies, all others do.
 */

import { copyFileSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Child, ChildOptions } from './children.ts'
import { type ExecuteOptions, execute, type Outcome, output, programPath } from './execute.ts'
import type { Host } from './host.ts'
import { pluginDirectory } from './paths.ts'

/** Runs as process 1 of the machine; reaps orphans, as init does. $1 is a directory for us, $2 that of the plugins. */
const init = `set -e
mkdir "$1/etc"
mount -t tmpfs tmpfs "$1/etc"
cp -a /etc/. "$1/etc/"
for directory in /run /var/lib /opt; do mount -t tmpfs tmpfs "$directory"; done
mount --bind "$1/etc" /etc
rm -rf /etc/cni
mkdir -p /etc/cni/net.d /etc/containers /opt/cni/bin /run/lock
mount --bind "$2" /opt/cni/bin
echo machine is up
while :; do sleep 1000 & wait; done`

/** What the containers run. */
const applets = ['sh', 'sleep', 'ping', 'httpd', 'wget', 'ip', 'cat']

export class Machine {
  readonly host: Host
  /** A root file system with a static busybox. */
  readonly rootDirectory: string
  /** Process 1 of the machine, as the real host numbers it. */
  readonly #init: number

  private constructor(host: Host, init: number, rootDirectory: string) {
    this.host = host
    this.#init = init
    this.rootDirectory = rootDirectory
  }

  /** Starts a machine on a host's network, with the plugins of a directory in /opt/cni/bin. Ends with the host. */
  static async start(host: Host, plugins = pluginDirectory): Promise<Machine> {
    const isolate = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
    const child = host.start([...isolate, 'sh', '-c', init, 'init', host.directory, plugins])
    await child.says(/machine is up/)
    const [first] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
    return new Machine(host, Number(first), createRootDirectory(join(host.directory, 'rootfs')))
  }

  #enter(argv: readonly string[]): string[] {
    return ['/usr/bin/nsenter', `--target=${this.#init}`, '--mount', '--net', '--pid', ...argv]
  }

  execute(argv: readonly string[], options?: ExecuteOptions): Outcome {
    return execute(this.#enter(argv), { environment: machineEnvironment, ...options })
  }

  output(argv: readonly string[], options?: ExecuteOptions): string {
    return output(this.#enter(argv), { environment: machineEnvironment, ...options })
  }

  /** Starts a program beside the test. Its id is that of the nsenter around it, which takes no signal on. */
  start(argv: readonly string[], options?: ChildOptions): Child {
    return this.host.startOutside(this.#enter(argv), { environment: machineEnvironment, ...options })
  }

  write(path: string, content: string): void {
    this.output(['sh', '-c', 'mkdir -p "$1" && cat > "$2"', 'write', dirname(path), path], { input: content })
  }

  /** Paths of the regular files below a directory; none when it does not exist. */
  files(directory: string): string[] {
    const { stdout } = this.execute(['find', directory, '-type', 'f'])
    return stdout.split('\n').filter(Boolean).toSorted()
  }
}

/** Runtimes want a home. */
const machineEnvironment = { PATH: programPath, HOME: '/root' }

function createRootDirectory(root: string): string {
  for (const directory of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'www'])
    mkdirSync(join(root, directory), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet))
  return root
}
