/** Debian's etcd on the underlay of a cluster: one member or several, each in a namespace of its own. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Child } from './children.ts'
import type { Cluster, Station } from './cluster.ts'
import { output } from './execute.ts'
import { until } from './until.ts'

export interface EtcdOptions {
  /** Default 1. */
  readonly members?: number
  /** With certificates on both sides, and with users: root, whose password is "secret". */
  readonly secured?: boolean
}

interface Member {
  readonly name: string
  readonly station: Station
  child: Child | undefined
}

const PREFIX = '/cnikit/v1/'
const PASSWORD = 'secret'

export class Etcd {
  readonly #cluster: Cluster
  readonly #directory: string
  readonly #members: readonly Member[]
  readonly #secured: boolean

  private constructor(cluster: Cluster, { members = 1, secured = false }: EtcdOptions) {
    this.#cluster = cluster
    this.#secured = secured
    this.#directory = join(cluster.underlay.directory, 'etcd')
    mkdirSync(this.#directory)
    this.#members = Array.from({ length: members }, (_, index) => ({
      name: `member-${index + 1}`,
      station: cluster.connect('etcd'),
      child: undefined,
    }))
  }

  /** Starts all the members and waits until they answer. */
  static async start(cluster: Cluster, options: EtcdOptions = {}): Promise<Etcd> {
    const etcd = new Etcd(cluster, options)
    if (etcd.#secured) makeCertificates(etcd.#directory, etcd.#members)
    await Promise.all(etcd.#members.map((_, index) => etcd.startMember(index)))
    await until('etcd answers', () => etcd.leader() !== undefined)
    if (etcd.#secured) {
      etcd.#control(false, 'user', 'add', `root:${PASSWORD}`)
      etcd.#control(false, 'user', 'grant-role', 'root', 'root')
      etcd.#control(false, 'auth', 'enable')
    }
    return etcd
  }

  /** Client URLs. */
  get endpoints(): string[] {
    return this.#members.map(member => this.#url(member))
  }

  /** overlayd's settings for it. */
  get settings(): object {
    const file = (name: string) => join(this.#directory, name)
    if (!this.#secured) return { endpoints: this.endpoints }
    writeFileSync(file('password'), `${PASSWORD}\n`)
    return {
      endpoints: this.endpoints,
      ca: file('ca.crt'),
      cert: file('client.crt'),
      key: file('client.key'),
      username: 'root',
      passwordFile: file('password'),
    }
  }

  #url({ station }: Member, port = 2379): string {
    return `${this.#secured ? 'https' : 'http'}://${station.underlay.ipv4}:${port}`
  }

  #peerUrl({ station }: Member): string {
    return `http://${station.underlay.ipv4}:2380`
  }

  async startMember(index: number): Promise<void> {
    const member = this.#member(index)
    const { name, station } = member
    const tls = this.#secured
      ? [
          '--client-cert-auth',
          '--cert-file',
          this.#file(`${name}.crt`),
          '--key-file',
          this.#file(`${name}.key`),
        ].concat('--trusted-ca-file', this.#file('ca.crt'))
      : []
    const options = [
      ['--name', name],
      ['--data-dir', this.#file(`${name}.data`)],
      ['--listen-client-urls', this.#url(member)],
      ['--advertise-client-urls', this.#url(member)],
      ['--listen-peer-urls', this.#peerUrl(member)],
      ['--initial-advertise-peer-urls', this.#peerUrl(member)],
      ['--initial-cluster', this.#members.map(one => `${one.name}=${this.#peerUrl(one)}`).join(',')],
      tls,
      ['--unsafe-no-fsync'],
    ]
    member.child = this.#cluster.underlay.start(['/usr/bin/etcd', ...options.flat()], { inside: station })
    await member.child.says(/ready to serve client requests|serving (insecure )?client requests/)
  }

  async stopMember(index: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#member(index).child?.stop(signal)
  }

  async start(): Promise<void> {
    await Promise.all(this.#members.map((_, index) => this.startMember(index)))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#members.map((_, index) => this.stopMember(index)))
  }

  /** Which member leads; undefined while none does. */
  leader(): number | undefined {
    const index = this.#members.findIndex(member => {
      const text = this.#try(member, 'endpoint', 'status', '--write-out=json')
      if (text === undefined) return false
      const [{ Status: status }] = JSON.parse(text) as [{ Status: { leader: number; header: { member_id: number } } }]
      return status.leader === status.header.member_id
    })
    return index < 0 ? undefined : index
  }

  /** The size of the first member's file. */
  fileBytes(): number {
    const text = this.#control(this.#secured, 'endpoint', 'status', '--write-out=json')
    const [member] = JSON.parse(text) as { Status: { dbSize: number } }[]
    if (member === undefined) throw new Error(`etcd gives no status: ${text}`)
    return member.Status.dbSize
  }

  /** Keys below a prefix, without the prefix of all. */
  keys(prefix: string): string[] {
    const text = this.#control(this.#secured, 'get', '--prefix', '--keys-only', PREFIX + prefix)
    return text
      .split('\n')
      .filter(Boolean)
      .map(key => key.slice(PREFIX.length))
  }

  get<T>(key: string): T | undefined {
    const text = this.#control(this.#secured, 'get', '--print-value-only', PREFIX + key).trim()
    return text === '' ? undefined : (JSON.parse(text) as T)
  }

  put(key: string, value: unknown): void {
    this.#control(this.#secured, 'put', PREFIX + key, JSON.stringify(value))
  }

  /** Many at once, in transactions of a hundred. */
  putAll(values: ReadonlyMap<string, unknown>): void {
    const lines = [...values].map(([key, value]) => `put ${PREFIX}${key} ${quote(JSON.stringify(value))}`)
    for (let start = 0; start < lines.length; start += 100) {
      const input = `\n${lines.slice(start, start + 100).join('\n')}\n\n\n`
      this.#control(this.#secured, { input }, 'txn')
    }
  }

  delete(prefix: string): void {
    this.#control(this.#secured, 'del', '--prefix', PREFIX + prefix)
  }

  /** Forgets all the history up to now: watches that have fallen behind cannot go on. */
  compact(): void {
    const text = this.#control(this.#secured, 'get', '--write-out=json', PREFIX)
    const { header } = JSON.parse(text) as { header: { revision: number } }
    this.#control(this.#secured, 'compaction', '--physical', String(header.revision))
  }

  #member(index: number): Member {
    const member = this.#members[index]
    if (member === undefined) throw new RangeError(`etcd has no member ${index}`)
    return member
  }

  #file(name: string): string {
    return join(this.#directory, name)
  }

  #argv(member: Member, endpoints: readonly string[], asUser: boolean, words: readonly string[]): string[] {
    const tls = [
      '--cacert',
      this.#file('ca.crt'),
      '--cert',
      this.#file('client.crt'),
      '--key',
      this.#file('client.key'),
    ]
    const options = [...(this.#secured ? tls : []), ...(asUser ? ['--user', `root:${PASSWORD}`] : [])]
    return member.station.enter([
      '/usr/bin/env',
      'ETCDCTL_API=3',
      '/usr/bin/etcdctl',
      `--endpoints=${endpoints.join(',')}`,
      ...options,
      ...words,
    ])
  }

  #control(asUser: boolean, first: string | { readonly input: string }, ...words: readonly string[]): string {
    const all = typeof first === 'string' ? [first, ...words] : words
    const options = typeof first === 'string' ? {} : first
    return output(this.#argv(this.#member(0), this.endpoints, asUser, all), options)
  }

  #try(member: Member, ...words: readonly string[]): string | undefined {
    const asUser = this.#secured
    for (const user of asUser ? [true, false] : [false]) {
      try {
        return output(this.#argv(member, [this.#url(member)], user, ['--command-timeout=2s', ...words]))
      } catch {}
    }
    return undefined
  }
}

/** As etcdctl's transactions read it. */
function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** An authority, a certificate for each member's address, and one for the agents, which has a name as people's have. */
function makeCertificates(directory: string, members: readonly Member[]): void {
  const openssl = (...words: readonly string[]) => output(['openssl', ...words], { cwd: directory })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=authority')
  const sign = (name: string, extensions: string) => {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
    writeFileSync(join(directory, `${name}.ext`), extensions)
    const authority = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial']
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...authority,
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
    )
  }
  for (const { name, station } of members)
    sign(name, `subjectAltName=IP:${station.underlay.ipv4}\nextendedKeyUsage=serverAuth,clientAuth\n`)
  sign('client', 'extendedKeyUsage=clientAuth\n')
}
