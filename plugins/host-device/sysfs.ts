/** Devices as /sys shows them. It shows those interfaces of a device that are in the plugin's own namespace. */

import { listDirectory, readLink, statusOf } from '../../lib/sys/file.ts'
import type { Selector } from './config.ts'

/** Drivers that give the whole device to a program: there is no interface to move. */
const userspaceDrivers: readonly string[] = ['vfio-pci', 'uio_pci_generic', 'igb_uio']

const buses = { pciBusID: ['pci'], 'runtimeConfig.deviceID': ['pci', 'auxiliary'] } as const

/** The directory of a device on a bus; undefined when there is no such device. */
export function busDirectory(key: keyof typeof buses, id: string): string | undefined {
  for (const bus of buses[key]) {
    const directory = `/sys/bus/${bus}/devices/${id}`
    if (statusOf(directory) !== undefined) return directory
  }
  return undefined
}

/** Whether a program drives the device, with DPDK for example, and not the kernel. */
export function hasUserspaceDriver(directory: string): boolean {
  const driver = readLink(`${directory}/driver`)
  return driver !== undefined && userspaceDrivers.includes(driver.slice(driver.lastIndexOf('/') + 1))
}

/** Names of the device's interfaces, in alphabetical order; those of a virtio device are a level further down. */
export function interfacesOf(directory: string): string[] {
  const own = listDirectory(`${directory}/net`) ?? []
  if (own.length > 0) return own.sort()
  const children = (listDirectory(directory) ?? []).filter(name => name.startsWith('virtio')).sort()
  return children.flatMap(name => (listDirectory(`${directory}/${name}/net`) ?? []).sort())
}

/** Whether a device that is named by its place is in that place, whoever has its interface. */
export function isPresent({ key, value }: Selector): boolean {
  if (key === 'kernelpath') return statusOf(value) !== undefined
  return (key === 'pciBusID' || key === 'runtimeConfig.deviceID') && busDirectory(key, value) !== undefined
}
