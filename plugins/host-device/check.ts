/** CHECK: the device is in the container, as ADD left it. What later plugins of the chain may change is left to them. */

import {
  checkAddresses,
  checkInterface,
  checkRoutes,
  ownAddresses,
  requirePrevResult,
} from '../../lib/attachment/check.ts'
import { withContainerSocket } from '../../lib/attachment/sockets.ts'
import { delegateCheck } from '../../lib/cni/delegate.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { parseHostDeviceConfig } from './config.ts'
import { isForProgram } from './device.ts'

export function check(request: AttachmentRequest): void {
  const { selector, ipamType } = parseHostDeviceConfig(request)
  const prevResult = requirePrevResult(request)
  if (ipamType !== undefined) delegateCheck(request, ipamType)
  if (selector !== undefined && isForProgram(selector)) return
  withContainerSocket(request.netns, container => {
    const link = checkInterface(container, request, { up: true }, prevResult)
    const prefixes = ownAddresses(request, prevResult).map(({ prefix }) => prefix)
    checkAddresses(container, link, prefixes)
    if (ipamType !== undefined) checkRoutes(container, request.ifname, prevResult.routes ?? [])
  })
}
