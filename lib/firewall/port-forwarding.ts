/** Port forwarding: ports of the host's lead to attachments. In the namespace of the calling thread, the host's. */

export type {
  KnownForwarding,
  PortForwarding,
  PortForwardingBackend,
  PortForwardingCarrier,
  PortForwardingOptions,
  PortMapping,
} from './port-forwarding-intent.ts'
