/** The demo's containers, and cnictl as an operator calls it on one of the hosts. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ClusterHost, type NetworkNamespace, type Outcome, pluginDirectory } from '../../test/harness/index.ts'
import { addressIn, type Family } from '../demo/address.ts'
import { showCommand } from '../demo/report.ts'

export interface Container {
  readonly name: string
  readonly network: string
  readonly host: ClusterHost
  readonly namespace: NetworkNamespace
}

const configurationOf = (host: ClusterHost): string => join(host.directory, 'net.d')

/** Puts the networks' configurations on a host: the same on all of them. */
export function configure(host: ClusterHost, networks: readonly { readonly name: string }[]): void {
  mkdirSync(configurationOf(host), { recursive: true })
  for (const network of networks)
    writeFileSync(join(configurationOf(host), `${network.name}.conf`), JSON.stringify(network))
}

/** Runs cnictl on a host. @param shown how the command line is shown; undefined: it is not */
export function cnictl(host: ClusterHost, words: readonly string[], shown?: string): Outcome {
  const outcome = host.execute([join(pluginDirectory, 'cnictl'), ...words, '--config-dir', configurationOf(host)])
  if (shown !== undefined) showCommand(`host${host.number}: cnictl ${shown}`, outcome.stdout + outcome.stderr)
  return outcome
}

/** What the runtime's verbs need beyond the configuration. */
const plugins = ['--plugin-dir', pluginDirectory]

/** ADD; must succeed. @param args CNI_ARGS */
export function attach(host: ClusterHost, network: string, name: string, args = ''): Container {
  const namespace = host.createContainer()
  const given = args === '' ? [] : ['--args', args]
  const words = ['add', network, namespace.name, '--container-id', name, ...given, ...plugins]
  const { status, stdout, stderr } = cnictl(host, [...words, '--json'])
  showCommand(
    `host${host.number}: cnictl add ${network} ${name}${args === '' ? '' : ` --args '${args}'`}`,
    status === 0 ? addressLine(stdout) : stdout + stderr,
  )
  if (status !== 0) throw new Error(`cnictl add ${network} ${name} failed`)
  return { name, network, host, namespace }
}

function addressLine(result: string): string {
  const { ips = [] } = JSON.parse(result) as { ips?: { address: string; interface?: number }[] }
  const of = (index: number) =>
    ips
      .filter(ip => ip.interface === index)
      .map(({ address }) => address)
      .join(' ')
  const wayOut = of(1)
  return `eth0 ${of(0)}${wayOut === '' ? '' : `, eth1 ${wayOut}`}`
}

/** DEL; must succeed. */
export function detach({ host, network, name, namespace }: Container): void {
  const words = ['del', network, namespace.name, '--container-id', name, ...plugins]
  const { status } = cnictl(host, words, `del ${network} ${name}`)
  if (status !== 0) throw new Error(`cnictl del ${network} ${name} failed`)
}

/** The container's address in its network. */
export const addressOf = ({ namespace }: Container, family: Family): string => addressIn(namespace, family)

/** Runs a web server in it that answers with its name. */
export async function serve({ host, name, namespace }: Container, ...ports: readonly number[]): Promise<void> {
  const program = join(dirname(fileURLToPath(import.meta.url)), 'web-server.js')
  const child = host.start([process.execPath, program, name, ...ports.map(String)], { inside: namespace })
  await child.says(/listening/)
}

/** Who answers so many requests, each name once; "" for none. */
export function whoAnswers(from: NetworkNamespace, address: string, port: number, requests = 1): string[] {
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}/`
  const names = new Set<string>()
  for (let request = 0; request < requests; request++) {
    const { stdout } = from.execute(['curl', '-sS', '--noproxy', '*', '--max-time', '2', url])
    names.add(stdout.trim())
  }
  return [...names].sort()
}
