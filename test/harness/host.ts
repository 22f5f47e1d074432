/**
 * A namespace that plays the host, with the containers on it: what every test in test/netns starts from. Nothing in it
 * is the real host's, and nothing of it outlives the test.
 */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Child, type ChildOptions } from './children.ts'
import { leftovers, machineState, processesInside } from './leaks.ts'
import { Living } from './living.ts'
import { addNamespaces, deleteNamespaces, NetworkNamespace, namePrefix, uniqueName } from './namespace.ts'

export class Host extends NetworkNamespace {
  /** A directory for the plugins' state, removed with the host. */
  readonly directory: string
  /** What the real host had when this one was made. */
  readonly machineBefore: ReadonlySet<string> = new Set(machineState())
  readonly #namespaces: NetworkNamespace[] = []
  readonly #children: Child[] = []

  constructor(namespace: string, directory: string) {
    super(namespace)
    this.directory = directory
  }

  /** For `ipam.dataDir`. */
  get dataDirectory(): string {
    return join(this.directory, 'networks')
  }

  /** A namespace that plays a container, a second host or the world outside. */
  createNamespace(kind = 'container'): NetworkNamespace {
    const [namespace] = this.createContainers(1, kind)
    if (namespace === undefined) throw new Error('no namespace was made')
    return namespace
  }

  createContainer(): NetworkNamespace {
    return this.createNamespace()
  }

  createContainers(count: number, kind = 'container'): NetworkNamespace[] {
    const made = addNamespaces(Array.from({ length: count }, () => uniqueName(kind)))
    this.#namespaces.push(...made)
    return made
  }

  /** Starts a program beside the test; it is ended with the host at the latest. `inside` is this host by default. */
  start(argv: readonly string[], options: ChildOptions & { readonly inside?: NetworkNamespace } = {}): Child {
    return this.startOutside((options.inside ?? this).enter(argv), options)
  }

  /** As start(), with a command line that finds its own way into a namespace. */
  startOutside(argv: readonly string[], options: ChildOptions = {}): Child {
    const child = new Child(argv, options)
    this.#children.push(child)
    return child
  }

  /** Ends what was started and tells which processes are in the namespaces nonetheless. */
  async stopChildren(): Promise<string[]> {
    await Promise.all(this.#children.map(child => child.stop('SIGKILL')))
    return processesInside(this.#paths()).map(({ pid, commandLine }) => `process ${pid}: ${commandLine}`)
  }

  /** Removes everything. Synchronous, so that it works while the process exits. */
  remove(): void {
    for (const child of this.#children) child.signal('SIGKILL')
    for (const { pid } of processesInside(this.#paths())) process.kill(pid, 'SIGKILL')
    deleteNamespaces(this.names())
    rmSync(this.directory, { recursive: true, force: true })
  }

  names(): string[] {
    return [this, ...this.#namespaces].map(namespace => namespace.name)
  }

  #paths(): string[] {
    return [this, ...this.#namespaces].map(namespace => namespace.path)
  }
}

const living = new Living<Host>(host => host.remove())

/** What test processes that were killed have left: their names tell the process. */
function removeRemains(): void {
  const dead = (name: string): boolean => {
    const [, pid] = /^cnikit-(\d+)-/.exec(name) ?? []
    if (pid === undefined) return false
    try {
      process.kill(Number(pid), 0)
      return false
    } catch {
      return true
    }
  }
  const names = (directory: string): string[] => {
    try {
      return readdirSync(directory).filter(dead)
    } catch {
      return []
    }
  }
  deleteNamespaces(names('/run/netns'))
  for (const name of names(tmpdir())) rmSync(join(tmpdir(), name), { recursive: true, force: true })
}

/** Makes a host with loopback up. Whoever calls this removes it; tests call withHost(). */
export function createHost(): Host {
  const directory = mkdtempSync(join(tmpdir(), `${namePrefix}${process.pid}-`))
  const name = uniqueName('host')
  const host = new Host(name, directory)
  // The first comes after what killed processes have left.
  if (living.size === 0) removeRemains()
  living.add(host)
  addNamespaces([name])
  host.ip('link set lo up')
  return host
}

/** Ends what was started, removes the host, and tells what is left all the same: on it, or on the real host since then. */
export async function endHost(host: Host): Promise<string[]> {
  const processes = await host.stopChildren()
  host.remove()
  living.delete(host)
  const changes = machineState().filter(entry => !host.machineBefore.has(entry))
  return [...processes, ...leftovers(host.names(), host.directory), ...changes]
}

/** Gives the test a host, removes it however the test ends, and fails the test when something is left behind. */
export async function withHost(t: Test, use: (host: Host) => void | Promise<void>): Promise<void> {
  const host = createHost()
  let left: string[] = []
  try {
    await use(host)
  } finally {
    left = await endHost(host)
  }
  t.same(left, [], 'the test leaves nothing behind')
}
