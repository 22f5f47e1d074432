/**
 * libcni's result cache: one file per attachment in `<directory>/results`, kept from ADD to DEL, so that DEL and CHECK
 * get the result of ADD. Shared with every runtime of the host that uses the same directory.
 */

import { Buffer } from 'node:buffer'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { AttachmentId } from '../cni/types.ts'
import { listDirectory, makeDirectories, readFileIfExists, rename, unlinkIfExists, writeFile } from '../sys/file.ts'
import type { Attachment } from './plugin-call.ts'
import type { ResultDocument } from './plugin-input.ts'
import { defaultVersion } from './version.ts'

/** Where libcni keeps it. */
export const defaultCacheDirectory = '/var/lib/cni'

const KIND = 'cniCacheV1'

/** A file of the cache. */
export interface CachedAttachment {
  readonly network: string
  readonly containerId: string
  readonly ifname: string
  readonly result: ResultDocument
  /** What only the newer of the two formats has. */
  readonly origin?: {
    /** Path of the namespace; "" where none is recorded. */
    readonly netns: string
    /** The network's list as ADD read it. */
    readonly config: string
    readonly args: Attachment['args']
    readonly capabilityArgs: Readonly<Record<string, unknown>>
  }
}

/** The file of an attachment. Names with "-" can collide; the newer format says inside whose it is. */
export function cacheFile(directory: string, network: string, id: AttachmentId): string {
  return `${directory}/results/${network}-${id.containerId}-${id.ifname}`
}

/** Keeps the result of ADD; a reader sees the old file or the new one, never half of it. @throws SysError */
export function writeCache(
  directory: string,
  network: { readonly name: string; readonly text: string },
  attachment: Attachment,
  result: ResultDocument,
): void {
  const document = {
    kind: KIND,
    containerId: attachment.containerId,
    config: Buffer.from(network.text).toString('base64'),
    ifName: attachment.ifname,
    networkName: network.name,
    ...(attachment.netns === '' ? {} : { netns: attachment.netns }),
    ...(attachment.args.length === 0 ? {} : { cniArgs: attachment.args }),
    ...(Object.keys(attachment.capabilityArgs).length === 0 ? {} : { capabilityArgs: attachment.capabilityArgs }),
    result,
  }
  makeDirectories(`${directory}/results`, 0o700)
  // Not inside results/: libcni takes every file there for an attachment.
  const temporary = `${directory}/.results-${process.pid}-${network.name}-${attachment.containerId}-${attachment.ifname}`
  try {
    writeFile(temporary, JSON.stringify(document), 0o600)
    rename(temporary, cacheFile(directory, network.name, attachment))
  } catch (error) {
    unlinkIfExists(temporary)
    throw error
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unreadable(file: string, reason: string): CniError {
  return new CniError(
    ErrorCode.decodeFailure,
    `cached result ${JSON.stringify(file)} cannot be used: ${reason}`,
    'a crash or a full disk while it was written leaves such a file; DEL removes it',
  )
}

function readResult(file: string, value: unknown): ResultDocument {
  if (!isRecord(value)) throw unreadable(file, 'it holds no result')
  const { cniVersion = defaultVersion } = value
  if (typeof cniVersion !== 'string') throw unreadable(file, 'the version of its result is no string')
  return { ...value, cniVersion: cniVersion === '' ? defaultVersion : cniVersion }
}

function readArgs(value: unknown): [string, string][] {
  const pairs = Array.isArray(value) ? value : []
  return pairs.flatMap((pair: unknown) => {
    const [key, text]: unknown[] = Array.isArray(pair) ? pair : []
    return typeof key === 'string' && typeof text === 'string' ? [[key, text] as [string, string]] : []
  })
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Reads a file's text; a bare result (the format before cniCacheV1) gets its names from `owner`. @throws CniError 6 */
function parse(
  file: string,
  content: string,
  owner?: { network: string } & AttachmentId,
): CachedAttachment | undefined {
  let document: unknown
  try {
    document = JSON.parse(content)
  } catch {
    throw unreadable(file, content === '' ? 'it is empty' : 'it is no JSON')
  }
  if (!isRecord(document)) throw unreadable(file, 'it is no JSON object')
  if (document.kind !== KIND) {
    return owner && { ...owner, result: readResult(file, document) }
  }
  const names = {
    network: text(document.networkName),
    containerId: text(document.containerId),
    ifname: text(document.ifName),
  }
  if (names.network === '' || names.containerId === '' || names.ifname === '') {
    throw unreadable(file, 'it does not say whose it is')
  }
  return {
    ...names,
    result: readResult(file, document.result),
    origin: {
      netns: text(document.netns),
      config: Buffer.from(text(document.config), 'base64').toString(),
      args: readArgs(document.cniArgs),
      capabilityArgs: isRecord(document.capabilityArgs) ? document.capabilityArgs : {},
    },
  }
}

/**
 * The cached result of one attachment, in either format; undefined where there is none, or where the file is that of
 * another attachment whose names run together to the same.
 * @throws CniError 6 when the file is torn; SysError when it cannot be read
 */
export function readCache(directory: string, network: string, id: AttachmentId): CachedAttachment | undefined {
  const file = cacheFile(directory, network, id)
  const content = readFileIfExists(file)
  if (content === undefined) return undefined
  const found = parse(file, content, { network, containerId: id.containerId, ifname: id.ifname })
  const same = found?.network === network && found.containerId === id.containerId && found.ifname === id.ifname
  return same ? found : undefined
}

/** Forgets an attachment; false where nothing was kept. @throws SysError */
export function deleteCache(directory: string, network: string, id: AttachmentId): boolean {
  return unlinkIfExists(cacheFile(directory, network, id))
}

/**
 * All attachments that the cache knows, by file name. Bare results are left out, since nothing says whose they are.
 * Files that cannot be used are reported to `warn` and passed over.
 */
export function listCache(directory: string, warn: (message: string) => void): CachedAttachment[] {
  const attachments: CachedAttachment[] = []
  for (const name of (listDirectory(`${directory}/results`) ?? []).sort()) {
    const file = `${directory}/results/${name}`
    try {
      const content = readFileIfExists(file)
      const attachment = content === undefined ? undefined : parse(file, content)
      if (attachment !== undefined) attachments.push(attachment)
    } catch (error) {
      warn(error instanceof Error ? error.message : String(error))
    }
  }
  return attachments
}
