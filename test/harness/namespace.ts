/** A network namespace under /run/netns, and programs run inside it. */

import { type ExecuteOptions, execute, type Outcome, output } from './execute.ts'

/** Every namespace of the test suites has a name that begins so, followed by the id of the process that made it. */
export const namePrefix = 'cnikit-'

let made = 0

/** A name that no other test has, in this process or another. */
export const uniqueName = (kind: string): string => `${namePrefix}${process.pid}-${kind}${++made}`

export class NetworkNamespace {
  readonly name: string
  /** What CNI_NETNS names. */
  readonly path: string

  constructor(name: string) {
    this.name = name
    this.path = `/run/netns/${name}`
  }

  /** The command line that runs a program in here. nsenter keeps the mounts, where "ip netns exec" makes its own. */
  enter(argv: readonly string[]): string[] {
    return ['/usr/bin/nsenter', `--net=${this.path}`, ...argv]
  }

  /** Runs a program inside and tells how it ended. */
  execute(argv: readonly string[], options?: ExecuteOptions): Outcome {
    return execute(this.enter(argv), options)
  }

  /** Runs a program inside that must succeed; gives its standard output. */
  output(argv: readonly string[], options?: ExecuteOptions): string {
    return output(this.enter(argv), options)
  }

  /** Runs ip(8) commands, one a line and without the leading "ip", in one process. */
  ip(commands: string): void {
    output(['ip', '-n', this.name, '-batch', '-'], { input: `${commands.trim()}\n` })
  }

  /** What "ip -j" says: `show('addr', 'show', 'dev', 'eth0')`. */
  show<T = IpObject[]>(...words: readonly string[]): T {
    const text = output(['ip', '-n', this.name, '-j', '-d', ...words])
    return JSON.parse(text.trim() === '' ? '[]' : text) as T
  }

  /** Names of the links inside. */
  links(): string[] {
    return this.show('link').map(link => String(link.ifname))
  }

  /** Addresses of a link with their prefix length, IPv6 link-local ones left out. */
  addresses(ifname: string): string[] {
    return this.show<{ addr_info?: { local: string; prefixlen: number; scope: string; family: string }[] }[]>('addr')
      .filter(link => (link as IpObject).ifname === ifname)
      .flatMap(link => link.addr_info ?? [])
      .filter(address => !(address.family === 'inet6' && address.scope === 'link'))
      .map(address => `${address.local}/${address.prefixlen}`)
  }

  /** The MAC address of a link. */
  macOf(ifname: string): string {
    return String(this.show('link', 'show', 'dev', ifname)[0]?.address)
  }

  /** Lets it forward in both families. Plugins turn that on, and nobody off again: others may rely on it by then. */
  allowForwarding(): void {
    this.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  }

  /** One ping, and whether it is answered. Where none is expected, `seconds` need not be many. */
  pings(address: string, seconds = 2): boolean {
    return this.execute(['ping', '-n', '-q', '-c', '1', '-W', String(seconds), address]).status === 0
  }

  /** One ping of so many bytes of IP packet that may not be fragmented. */
  pingsUnfragmented(address: string, bytes: number): boolean {
    const payload = bytes - 8 - (address.includes(':') ? 40 : 20)
    const command = ['ping', '-n', '-q', '-c', '1', '-W', '2', '-M', 'do', '-s', String(payload), address]
    return this.execute(command).status === 0
  }
}

/** An object as "ip -j" prints it; the name of a link is in `ifname`. */
export type IpObject = Readonly<Record<string, unknown>>

/** Makes namespaces, in one process however many they are. */
export function addNamespaces(names: readonly string[]): NetworkNamespace[] {
  if (names.length === 0) return []
  const commands = names.map(name => `netns add ${name}`)
  output(['ip', '-batch', '-'], { input: `${commands.join('\n')}\n` })
  return names.map(name => new NetworkNamespace(name))
}

/** Deletes namespaces; those that are gone already are passed over. */
export function deleteNamespaces(names: readonly string[]): void {
  if (names.length === 0) return
  execute(['ip', '-force', '-batch', '-'], { input: `${names.map(name => `netns del ${name}`).join('\n')}\n` })
}
