/** ADD: the interface and the namespace are as configured; the result is that of the plugins before, brought up to date. */

import { formatMac } from '../../lib/address/mac.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Interface, Result } from '../../lib/cni/types.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import { refuseForbidden } from './allow-list.ts'
import { backupOf, writeBackup } from './backup.ts'
import { changesInterface, type InterfaceSettings, parseTuningConfig, type TuningConfig } from './config.ts'
import {
  changeLink,
  checkSettings,
  findHostEnd,
  findInterface,
  hostEndMtu,
  interfaceIdentity,
  mtuOnly,
  presentSettings,
} from './interface.ts'
import { findSysctls, setSysctls } from './sysctls.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseTuningConfig(request)
  refuseForbidden(config.sysctls)
  const { prevResult } = request
  if (prevResult === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'Required prevResult missing',
      'tuning changes what a plugin before it in the chain has made: put it behind that one',
    )
  }
  if (changesInterface(config.settings))
    return withSockets(request.netns, sockets => tune(sockets, request, config, prevResult))
  if (config.sysctls.length > 0) setSysctlsAlone(request, config)
  return prevResult
}

/** Without a look at the interface, which need not be there. */
function setSysctlsAlone({ netns, environment }: AttachmentRequest, { sysctls }: TuningConfig): void {
  const namespace = openNamespace(netns)
  try {
    const found = findSysctls(namespace, sysctls)
    runTransaction(environment, transaction => setSysctls(transaction, namespace, found))
  } finally {
    namespace.close()
  }
}

function tune(sockets: Sockets, request: AttachmentRequest, config: TuningConfig, prevResult: Result): Result {
  const { settings, dataDirectory } = config
  const { container, host, namespace } = sockets
  const link = findInterface(container, request)
  checkSettings(sockets, link, settings, request)
  const sysctls = findSysctls(namespace, config.sysctls)
  const hostEnd = settings.mtu === undefined ? undefined : findHostEnd(sockets, link)
  return runTransaction(request.environment, transaction => {
    transaction.step(
      'write the backup',
      () => writeBackup(dataDirectory, request, interfaceIdentity(sockets, link), backupOf(link, hostEnd, settings)),
      restore => restore(),
    )
    // The interface comes first: the kernel derives sysctls from it, net.ipv6.conf.IFNAME.mtu for example.
    change(transaction, container, link, settings)
    if (hostEnd !== undefined) change(transaction, host, hostEnd, mtuOnly(hostEndMtu(settings.mtu ?? 0)))
    setSysctls(transaction, namespace, sysctls)
    return tunedResult(prevResult, request, settings, hostEnd)
  })
}

function change(transaction: Transaction, socket: NetlinkSocket, link: Link, settings: InterfaceSettings): void {
  const before = presentSettings(link, settings)
  transaction.step(
    `change "${link.name}"`,
    () => {
      const [error] = changeLink(socket, link, settings)
      if (error === undefined) return
      // Of several, some may have been made.
      changeLink(socket, link, before)
      throw error
    },
    () => {
      const [error] = changeLink(socket, link, before)
      if (error !== undefined) throw error
    },
  )
}

/** The interfaces' addresses and MTUs as they are now. */
function tunedResult(
  result: Result,
  { ifname }: AttachmentRequest,
  { mac, mtu }: InterfaceSettings,
  hostEnd: Link | undefined,
): Result {
  if (result.interfaces === undefined) return result
  const tuned = (one: Interface): Interface => {
    if (one.sandbox && one.name === ifname) {
      return { ...one, ...(mac === undefined ? {} : { mac: formatMac(mac) }), ...(mtu === undefined ? {} : { mtu }) }
    }
    if (!one.sandbox && one.name === hostEnd?.name && mtu !== undefined) return { ...one, mtu: hostEndMtu(mtu) }
    return one
  }
  return { ...result, interfaces: result.interfaces.map(tuned) }
}
