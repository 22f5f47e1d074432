/** What a test may not leave behind, looked for after each. */

import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

const entries = (directory: string): string[] => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** Where plugins keep state when a configuration does not say otherwise: of the real host, so nothing may change there. */
const stateOfTheRealHost = [
  '/var/lib/cni',
  '/var/lib/cni/networks',
  '/var/lib/cni/results',
  '/run/cni',
  '/etc/cni/net.d',
  '/opt/cni/bin',
]

/** Links and plugin state of the machine that runs the tests. */
export function machineState(): string[] {
  return [
    ...entries('/sys/class/net').map(link => `link ${link} of the real host`),
    ...stateOfTheRealHost.flatMap(directory => entries(directory).map(entry => `${directory}/${entry}`)),
  ]
}

/** Processes inside the namespaces at these paths, as "pid command line". */
export function processesInside(paths: readonly string[]): { pid: number; commandLine: string }[] {
  const inodes = new Set<string>()
  for (const path of paths) {
    try {
      inodes.add(`net:[${statSync(path).ino}]`)
    } catch {
      // deleted by the test itself
    }
  }
  if (inodes.size === 0) return []
  return entries('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(pid => {
      try {
        if (!inodes.has(readlinkSync(`/proc/${pid}/ns/net`))) return []
        return [{ pid: Number(pid), commandLine: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') }]
      } catch {
        return [] // ended meanwhile
      }
    })
}

/** Namespaces and mounts that bear one of the names or lie under the directory. */
export function leftovers(names: readonly string[], directory: string): string[] {
  const left = new Set(entries('/run/netns'))
  return [
    ...names.filter(name => left.has(name)).map(name => `namespace ${name}`),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map(line => line.split(' ')[4] ?? '')
      .filter(point => point.startsWith(`${directory}/`))
      .map(point => `mount ${point}`),
    ...(entries(directory).length > 0 ? [`directory ${directory}`] : []),
  ]
}
