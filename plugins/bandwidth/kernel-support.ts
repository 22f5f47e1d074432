/** Kernels that lack what limits are made of. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetlinkError } from '../../lib/netlink/error.ts'
import { Errno } from '../../lib/sys/errno.ts'

interface Part {
  /** How the request is described that the kernel refuses without it. */
  readonly asked: string
  readonly errno: number
  /** What the kernel says itself; that kind of request can fail for want of several parts. */
  readonly says?: string
  readonly name: string
  readonly module: string
  readonly option: string
}

const { ENOENT, EOPNOTSUPP } = Errno

const parts: readonly Part[] = [
  { asked: 'qdisc "tbf"', errno: ENOENT, name: 'qdisc "tbf"', module: 'sch_tbf', option: 'NET_SCH_TBF' },
  { asked: 'qdisc "clsact"', errno: ENOENT, name: 'qdisc "clsact"', module: 'sch_ingress', option: 'NET_SCH_INGRESS' },
  { asked: 'of kind "ifb"', errno: EOPNOTSUPP, name: 'link of kind "ifb"', module: 'ifb', option: 'IFB' },
  {
    asked: 'redirect what',
    errno: ENOENT,
    says: 'action',
    name: 'action "mirred"',
    module: 'act_mirred',
    option: 'NET_ACT_MIRRED',
  },
  { asked: 'redirect what', errno: ENOENT, name: 'filter "u32"', module: 'cls_u32', option: 'NET_CLS_U32' },
]

/** Why the kernel does not limit. @param link that it was asked for */
export function explainRefusal(refusal: NetlinkError, link: string): CniError | NetlinkError {
  const { operation, errno, extAckMessage = '' } = refusal
  if (errno === Errno.EEXIST) {
    return new CniError(
      ErrorCode.conflict,
      `the traffic of "${link}" is limited already, or queued by a qdisc of somebody else`,
      `"tc qdisc show dev ${link}" and "tc filter show dev ${link} ingress" show it; DEL removes what an ADD has made`,
      { cause: refusal },
    )
  }
  const missing = parts.find(
    part => operation.includes(part.asked) && errno === part.errno && extAckMessage.includes(part.says ?? ''),
  )
  if (missing === undefined) return refusal
  return new CniError(
    ErrorCode.kernelFeatureMissing,
    `the kernel has no ${missing.name}`,
    `"modprobe ${missing.module}" loads it; a kernel without needs CONFIG_${missing.option}`,
    { cause: refusal },
  )
}
