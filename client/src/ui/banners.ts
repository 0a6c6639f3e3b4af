/** What stands under the header when something is not as it should be: a sentence and one action each. Pure data. */
import { type AlarmAction, alarmText } from '../chat/alarms'
import type { Conversation } from '../chat/conversation'
import type { ChatSession } from '../chat/session'
import type { ConnectionState } from '../net/socket'

const QUIET_CONNECTING_MS = 1_000

export type BannerAction = 'retry_now' | 'sign_in' | AlarmAction

export interface Banner {
  readonly key: string
  readonly kind: 'info' | 'warning' | 'alarm'
  readonly text: string
  /** What is read aloud, where the text counts down. */
  readonly spoken?: string
  readonly action?: { readonly kind: BannerAction; readonly label: string }
}

export type BannerSource = Pick<ChatSession, 'trouble'> & {
  readonly connection: { readonly state: ConnectionState }
}
export type RoomSource = Pick<Conversation, 'alarm' | 'summary' | 'mustSignIn'> & {
  readonly sender: Pick<Conversation['sender'], 'pause'>
}

const RETRY_NOW = { kind: 'retry_now', label: 'Retry now' } as const
const RELOAD = { kind: 'reload', label: 'Reload' } as const
const SIGN_IN = { kind: 'sign_in', label: 'Sign in' } as const

export function bannersOf(session: BannerSource, room: RoomSource | null, now: number): Banner[] {
  const banners = [troubleBanner(session), session.trouble === null ? connectionBanner(session, now) : null]
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
        action: SIGN_IN,
      }
    case 'bug':
      return {
        key: 'bug',
        kind: 'warning',
        text: 'Something went wrong on this page. What you wrote is kept here.',
        action: RELOAD,
      }
    case 'alarm': {
      const { title, sentence, action } = alarmText(trouble.code, 'your friend')
      return { key: 'alarm', kind: 'alarm', text: `${title}. ${sentence}`, action: { ...action, ...RELOAD } }
    }
  }
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
        action: RETRY_NOW,
      }
    case 'waiting': {
      const seconds = secondsUntil(state.retryAt, now)
      const text = `Connection lost. Trying again in ${seconds} s.`
      return {
        key: 'waiting',
        kind: 'warning',
        text,
        spoken: 'Connection lost. Trying again.',
        action: RETRY_NOW,
      }
    }
  }
}

function roomBanners(room: RoomSource, now: number): Banner[] {
  const banners: Banner[] = []
  if (room.alarm !== null) {
    const { title, sentence, action } = alarmText(room.alarm, room.summary.peer)
    banners.push({ key: 'room alarm', kind: 'alarm', text: `${title}. ${sentence}`, action })
  }
  if (room.mustSignIn)
    banners.push({
      key: 'device',
      kind: 'warning',
      text: 'This browser is no longer on your list of keys. Sign in again to send.',
      action: SIGN_IN,
    })
  const { pause } = room.sender
  if (pause !== null) {
    const seconds = secondsUntil(pause.until, now)
    banners.push(
      pause.because === 'too_fast'
        ? {
            key: 'pause',
            kind: 'warning',
            text: `You are sending too fast. You can send again in ${seconds} s.`,
            spoken: 'You are sending too fast. Your messages wait.',
          }
        : {
            key: 'pause',
            kind: 'warning',
            text: `The server could not store your message. Trying again in ${seconds} s.`,
            spoken: 'The server could not store your message. Trying again.',
          },
    )
  }
  return banners
}

function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000))
}

/** Whether the text of a banner changes with time alone. */
export function needsClock(session: BannerSource, room: RoomSource | null): boolean {
  const { kind } = session.connection.state
  return kind === 'waiting' || kind === 'connecting' || (room !== null && room.sender.pause !== null)
}
