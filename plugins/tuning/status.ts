/** STATUS: whether the configuration can be carried out, as far as that is known without a container. */

import { answerStatus } from '../../lib/attachment/status.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { refuseForbidden } from './allow-list.ts'
import { parseTuningConfig } from './config.ts'

export function status(request: NetworkRequest): void {
  answerStatus(() => refuseForbidden(parseTuningConfig(request).sysctls))
}
