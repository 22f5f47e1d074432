/** STATUS: whether the device is there, or with a container that it will come back from. */

import { answerStatus } from '../../lib/attachment/status.ts'
import { delegateStatus } from '../../lib/cni/delegate.ts'
import { ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { isSelected, listRecorded, missingDevice } from './away.ts'
import { type HostDeviceConfig, parseHostDeviceConfig, requireSelector, type Selector } from './config.ts'
import { findDevice } from './device.ts'
import { refuseIndispensable } from './guard.ts'
import { type Home, withHome } from './home.ts'
import { readLostSettings } from './lost-settings.ts'
import { isPresent } from './sysfs.ts'

export function status(request: NetworkRequest): void {
  const config = parseHostDeviceConfig(request)
  const { selector, isChosenByRuntime, ipamType } = config
  answerStatus(() => {
    if (selector !== undefined || !isChosenByRuntime)
      withHome(request, home => examine(home, selector ?? requireSelector(config), config))
    if (ipamType !== undefined) delegateStatus(request, ipamType)
  })
}

function examine(home: Home, selector: Selector, config: HostDeviceConfig): void {
  const link = findDevice(home.socket, selector)
  if (link !== undefined) {
    refuseIndispensable(home.socket, link, readLostSettings(home.socket, link).routes, config)
    return
  }
  // That its interface cannot be seen means that a container has it, or a program.
  if (isPresent(selector)) return
  if (listRecorded(home.socket).some(one => isSelected(one, selector))) return
  const error = missingDevice(home, selector)
  if (error.code !== ErrorCode.conflict) throw error
}
