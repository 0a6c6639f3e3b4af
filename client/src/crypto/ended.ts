/** What a device may still have said before it was signed out (docs/protocol.md, section 6). */
import type { Side } from '../wire/objects'
import type { OpenedEpoch } from './epoch'
import { DeviceEnded } from './errors'
import type { ChainDevice } from './key_chain'

/** Something signed by a device of the person on `side` about the log up to or at `n`. */
export interface Said {
  readonly side: Side
  readonly n: number
  /** The epoch that it was sealed under, if it was. */
  readonly epoch?: number
}

/** Throws `DeviceEnded` for what the device can have said only after its end. */
export function requireMaySay(
  device: ChainDevice,
  said: Said,
  epochs: ReadonlyMap<number, OpenedEpoch>,
): void {
  const { ended } = device
  if (ended === null) return
  const after = [...epochs.values()].find(({ members }) => members[said.side].seq >= ended.seq)
  if (after === undefined) return
  if (said.n > after.logN || (said.epoch ?? 0) >= after.epoch) throw new DeviceEnded()
}
