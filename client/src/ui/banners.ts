/** What stands under the header when something is not as it should be: a sentence and what to do. Pure data. */
import { type AlarmAction, alarmText } from '../chat/alarms'
import type { Conversation } from '../chat/conversation'
import type { ChatSession } from '../chat/session'
import type { ConnectionState } from '../net/socket'
import { shownName } from './person'
import { momentName } from './times'

const QUIET_CONNECTING_MS = 1_000

export type BannerAction =
  | 'retry_now'
  | 'sign_in'
  | 'compare'
  | 'send_waiting'
  | 'send_anyway'
  | 'see_browsers'
  | 'it_was_me'
  | AlarmAction

/** A button, and what it is for. `subject` names what it is about, where there may be several. */
export interface Offer {
  readonly kind: BannerAction
  readonly label: string
  readonly subject?: string
}

export interface Banner {
  readonly key: string
  readonly kind: 'info' | 'warning' | 'alarm'
  readonly text: string
  /** What is read aloud, where the text counts down. */
  readonly spoken?: string
  readonly offers?: readonly Offer[]
}

export type BannerSource = Pick<ChatSession, 'trouble' | 'signIns' | 'retryAt' | 'isStorageFull'> & {
  readonly connection: { readonly state: ConnectionState }
}
export type RoomSource = Pick<
  Conversation,
  'alarm' | 'summary' | 'mustSignIn' | 'heldMessages' | 'retryAt'
> & {
  readonly sender: Pick<Conversation['sender'], 'pause'>
}

/** More than these at once say no more than the list of browsers does. */
const MAX_SIGN_INS = 2
const RETRY_NOW: Offer = { kind: 'retry_now', label: 'Retry now' }
const RELOAD: Offer = { kind: 'reload', label: 'Reload' }
const SIGN_IN: Offer = { kind: 'sign_in', label: 'Sign in' }

const STORAGE_FULL: Banner = {
  key: 'storage',
  kind: 'warning',
  text: 'This browser has no room left to keep what you write. Make room on this device, then send again.',
}

export function bannersOf(session: BannerSource, room: RoomSource | null, now: number): Banner[] {
  const banners = [
    troubleBanner(session),
    session.trouble === null ? connectionBanner(session, now) : null,
    session.retryAt === null
      ? null
      : retryBanner('list', 'The server cannot give the list of your chats.', session.retryAt, now),
    session.isStorageFull ? STORAGE_FULL : null,
    ...signInBanners(session, now),
  ]
  if (room !== null) banners.push(...roomBanners(room, now))
  return banners.filter((banner) => banner !== null)
}

function troubleBanner({ trouble }: BannerSource): Banner | null {
  switch (trouble?.kind) {
    case undefined:
    case 'keys_missing':
      return null
    case 'signed_out':
      return {
        key: 'signed_out',
        kind: 'warning',
        text: 'You were signed out on this browser.',
        offers: [SIGN_IN],
      }
    case 'keys_renewed':
      if (trouble.inThisBrowser)
        return {
          key: 'keys_renewed',
          kind: 'info',
          text: 'Your keys were renewed in another tab.',
          offers: [RELOAD],
        }
      return {
        key: 'keys_renewed',
        kind: 'warning',
        text: 'Your keys were renewed in another browser. Type your password to go on here.',
        offers: [{ ...SIGN_IN, label: 'Type the password' }],
      }
    case 'bug':
      return {
        key: 'bug',
        kind: 'warning',
        text: 'Something went wrong on this page. What you wrote is kept here.',
        offers: [RELOAD],
      }
    case 'alarm': {
      const { title, sentence, action } = alarmText(trouble.code, 'your friend')
      // A conversation can be asked again; for the whole page that is to reload.
      const offer = action.kind === 'ask_again' ? RELOAD : action
      return { key: 'alarm', kind: 'alarm', text: `${title}. ${sentence}`, offers: [offer] }
    }
  }
}

function signInBanners({ signIns }: BannerSource, now: number): Banner[] {
  return signIns.slice(-MAX_SIGN_INS).map(({ device, at }) => ({
    key: `sign-in ${device}`,
    kind: 'warning',
    text: `A new browser signed in to your account at ${momentName(at, now)}.`,
    offers: [
      { kind: 'see_browsers', label: 'See browsers' },
      { kind: 'it_was_me', label: 'It was me', subject: device },
    ],
  }))
}

function connectionBanner({ connection }: BannerSource, now: number): Banner | null {
  const { state } = connection
  switch (state.kind) {
    case 'open':
    case 'stopped':
    case 'signed_out':
      return null
    case 'connecting':
      if (now - state.since < QUIET_CONNECTING_MS) return null
      return { key: 'connecting', kind: 'info', text: 'Connecting…' }
    case 'offline':
      return {
        key: 'offline',
        kind: 'warning',
        text: 'You are offline. Messages are kept here and sent when you are back.',
        offers: [RETRY_NOW],
      }
    case 'waiting': {
      const banner = retryBanner('waiting', WHY_WAITING[state.because], state.retryAt, now)
      return state.because === 'too_many' ? { ...banner, offers: [] } : banner
    }
  }
}

const WHY_WAITING = {
  lost: 'Connection lost.',
  restart: 'The server is restarting.',
  too_many: 'The server has too many connections or messages from you.',
} as const

function retryBanner(key: string, why: string, at: number, now: number): Banner {
  return {
    key,
    kind: 'warning',
    text: `${why} Trying again in ${secondsUntil(at, now)} s.`,
    spoken: `${why} Trying again.`,
    offers: [RETRY_NOW],
  }
}

function roomBanners(room: RoomSource, now: number): Banner[] {
  const banners: Banner[] = []
  const peer = shownName(room.summary.peer)
  if (room.alarm !== null) {
    const { title, sentence, action } = alarmText(room.alarm, peer)
    banners.push({ key: 'room alarm', kind: 'alarm', text: `${title}. ${sentence}`, offers: [action] })
  }
  if (room.heldMessages > 0) banners.push(heldBanner(room.heldMessages, peer))
  if (room.mustSignIn)
    banners.push({
      key: 'device',
      kind: 'warning',
      text: 'This browser is no longer on your list of keys. Sign in again to send.',
      offers: [SIGN_IN],
    })
  const { pause } = room.sender
  if (pause?.because === 'too_fast')
    banners.push({
      key: 'pause',
      kind: 'warning',
      text: `You are sending too fast. You can send again in ${secondsUntil(pause.until, now)} s.`,
      spoken: 'You are sending too fast. Your messages wait.',
    })
  else if (pause !== null)
    banners.push(retryBanner('pause', 'The server could not store your message.', pause.until, now))
  else if (room.retryAt !== null)
    banners.push(retryBanner('pause', 'The server cannot give these messages.', room.retryAt, now))
  return banners
}

function heldBanner(held: number, peer: string): Banner {
  const messages = held === 1 ? '1 message waits' : `${held} messages wait`
  return {
    key: 'held',
    kind: 'warning',
    text: `${peer} started over with new keys. ${messages} until you say so.`,
    offers: [
      { kind: 'compare', label: 'Compare' },
      { kind: 'send_waiting', label: held === 1 ? 'Send it' : 'Send them' },
    ],
  }
}

function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000))
}

/** Whether the text of a banner changes with time alone. */
export function needsClock(session: BannerSource, room: RoomSource | null): boolean {
  const { kind } = session.connection.state
  return (
    kind === 'waiting' ||
    kind === 'connecting' ||
    session.retryAt !== null ||
    (room !== null && (room.sender.pause !== null || room.retryAt !== null))
  )
}
