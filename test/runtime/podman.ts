/** Podman with its CNI back end on a machine. */

import { readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../harness/machine.ts'
import { ContainerNetwork } from './container-network.ts'
import type { Container } from './network.ts'

const configuration = `
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`
const storage = `
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`

export interface PodmanContainer extends Container {
  readonly network: ContainerNetwork
}

export class Podman {
  readonly #machine: Machine
  /** Podman leaves the groups that it made above the containers'. */
  readonly #cgroup: string

  constructor(machine: Machine) {
    this.#machine = machine
    this.#cgroup = machine.host.name
    machine.write('/etc/containers/containers.conf', configuration)
    machine.write('/etc/containers/storage.conf', storage)
  }

  /** Gives the conflist that Podman writes for its own network. */
  createNetwork(name: string, ...subnets: readonly string[]): string {
    const ipv6 = subnets.some(subnet => subnet.includes(':')) ? ['--ipv6'] : []
    const ranges = subnets.flatMap(subnet => ['--subnet', subnet])
    this.#machine.output(['podman', 'network', 'create', ...ipv6, ...ranges, name])
    return this.#machine.output(['cat', `/etc/cni/net.d/${name}.conflist`])
  }

  /** Runs a web server in a container. @param publish as "8080:80/tcp" */
  run(name: string, network: string, publish: readonly string[] = []): PodmanContainer {
    const root = this.#machine.rootDirectory
    writeFileSync(join(root, 'www/index.html'), 'hello\n')
    this.#machine.output([
      ...['podman', 'run', '--detach', '--name', name, '--network', network, '--cgroup-parent', `/${this.#cgroup}`],
      // Raising limits and filtering system calls need rights that root does not have everywhere; ping needs this one.
      ...['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000', '--security-opt', 'seccomp=unconfined'],
      ...publish.flatMap(mapping => ['--publish', mapping]),
      ...['--cap-add', 'NET_RAW', '--rootfs', root, '/bin/httpd', '-f', '-p', '80', '-h', '/www'],
    ])
    const pid = Number(this.#machine.output(['podman', 'inspect', '--format', '{{.State.Pid}}', name]))
    return {
      name,
      network: new ContainerNetwork(this.#machine, pid),
      output: argv => this.#machine.output(['podman', 'exec', name, ...argv]),
    }
  }

  remove(...names: readonly string[]): void {
    this.#machine.output(['podman', 'rm', '--force', '--time', '0', ...names])
  }

  /** Removes the control groups; to be called when no container runs. */
  removeControlGroups(): void {
    const remove = (directory: string): void => {
      for (const entry of readdirSync(directory, { withFileTypes: true }))
        if (entry.isDirectory()) remove(join(directory, entry.name))
      rmdirSync(directory)
    }
    const root = '/sys/fs/cgroup'
    const hierarchies = [root, ...readdirSync(root).map(name => join(root, name))]
    for (const path of hierarchies.map(directory => join(directory, this.#cgroup))) {
      try {
        remove(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'ENOTDIR')
          throw error
      }
    }
  }
}
