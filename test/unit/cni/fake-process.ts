/** A process and a plugin as the protocol sees them, for tests that run in one process. */

import { dispatch } from '../../../lib/cni/run.ts'
import type { StandardStreams } from '../../../lib/cni/standard-streams.ts'
import type { AttachmentRequest, GcRequest, NetworkRequest, Plugin } from '../../../lib/cni/types.ts'
import { cniVersions } from '../../../lib/cni/types.ts'

export interface Call {
  readonly verb: string
  readonly request: NetworkRequest & Partial<AttachmentRequest> & Partial<GcRequest>
}

/** A plugin that records its calls. It does not enter namespaces, so that CNI_NETNS may be anything. */
export function recordingPlugin(overrides: Partial<Plugin> = {}): { plugin: Plugin; calls: Call[] } {
  const calls: Call[] = []
  const record = (verb: string) => (request: NetworkRequest) => {
    calls.push({ verb, request })
  }
  const plugin: Plugin = {
    name: 'recorder',
    about: 'records its calls',
    supportedVersions: cniVersions,
    netns: 'any',
    add: request => {
      calls.push({ verb: 'ADD', request })
      return { ips: [{ address: '10.1.0.5/16' }] }
    },
    del: record('DEL'),
    check: record('CHECK'),
    gc: record('GC'),
    status: record('STATUS'),
    ...overrides,
  }
  return { plugin, calls }
}

export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly stdinReads: number
  readonly calls: readonly Call[]
  /** Standard output as one JSON document; undefined when it is empty. */
  readonly document: { cniVersion?: string; code?: number; msg?: string; details?: string; [key: string]: unknown }
}

export interface Invocation {
  readonly environment: Readonly<Record<string, string>>
  /** An object is turned into JSON. */
  readonly config?: string | Readonly<Record<string, unknown>>
  readonly plugin?: Partial<Plugin>
  readonly builtins?: readonly Plugin[]
  readonly streams?: Partial<StandardStreams>
}

export async function invoke({
  environment,
  config = '',
  plugin: overrides,
  builtins,
  streams,
}: Invocation): Promise<Outcome> {
  const { plugin, calls } = recordingPlugin(overrides)
  let [stdout, stderr, stdinReads] = ['', '', 0]
  const status = dispatch(
    plugin,
    {
      environment,
      readStdin: () => {
        stdinReads++
        return typeof config === 'string' ? config : JSON.stringify(config)
      },
      writeStdout: text => {
        stdout += text
      },
      writeStderr: text => {
        stderr += text
      },
      ...streams,
    },
    builtins,
  )
  return { status, stdout, stderr, stdinReads, calls, document: stdout === '' ? undefined : JSON.parse(stdout) }
}

/** Variables with which every verb is served. */
export function environmentFor(command: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'container-1',
    CNI_NETNS: '/dev/null',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
    ...more,
  }
}

/** A configuration with which every verb is served. */
export function configWith(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { cniVersion: '1.1.0', name: 'net-1', type: 'recorder', prevResult: {}, ...more }
}
