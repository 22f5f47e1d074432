/** containerd on a machine, and containers run by "ctr run --cni". */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Child, Outcome } from '../harness/index.ts'
import type { Machine } from '../harness/machine.ts'
import { ContainerNetwork } from './container-network.ts'
import type { Container } from './network.ts'

// Only what ctr uses: no CRI, and no snapshotter that probes the kernel.
const configuration = `
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
`

export class Containerd {
  readonly #machine: Machine
  readonly #daemon: Child

  private constructor(machine: Machine, daemon: Child) {
    this.#machine = machine
    this.#daemon = daemon
  }

  static async start(machine: Machine): Promise<Containerd> {
    machine.write('/etc/containerd/test.toml', configuration)
    const daemon = machine.start(['containerd', '--config', '/etc/containerd/test.toml'])
    await daemon.says(/containerd successfully booted/)
    return new Containerd(machine, daemon)
  }

  /** Runs a web server in a container; resolves when it listens, and so after ADD. */
  async run(name: string): Promise<CtrContainer> {
    const root = this.#machine.rootDirectory
    writeFileSync(join(root, 'www/index.html'), 'hello\n')
    // ctr asks the plugins for DEL when it is not detached and the container ends.
    const ctr = this.#machine.start([
      ...['ctr', 'run', '--rm', '--cni', '--cgroup', '', '--rootfs', root, name],
      ...['/bin/sh', '-c', 'echo up; exec /bin/httpd -f -p 80 -h /www'],
    ])
    await ctr.says(/up\n/)
    const [, pid] = new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(this.#machine.output(['ctr', 'task', 'ls'])) ?? []
    return new CtrContainer(this.#machine, name, ctr, new ContainerNetwork(this.#machine, Number(pid)))
  }

  async stop(): Promise<void> {
    this.#machine.output(['pkill', '-TERM', '-x', 'containerd'])
    await this.#daemon.ended
  }
}

class CtrContainer implements Container {
  readonly name: string
  readonly network: ContainerNetwork
  readonly #machine: Machine
  readonly #ctr: Child
  #commands = 0

  constructor(machine: Machine, name: string, ctr: Child, network: ContainerNetwork) {
    this.#machine = machine
    this.name = name
    this.network = network
    this.#ctr = ctr
  }

  output(argv: readonly string[]): string {
    const id = `${this.name}-${++this.#commands}`
    return this.#machine.output(['ctr', 'task', 'exec', '--exec-id', id, this.name, ...argv])
  }

  /** Ends the container; resolves when ctr has seen to DEL. */
  async stop(): Promise<Outcome> {
    this.#machine.output(['ctr', 'task', 'kill', '--signal', 'SIGKILL', this.name])
    return this.#ctr.ended
  }
}
