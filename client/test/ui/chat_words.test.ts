import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AlarmCode, alarmText } from '../../src/chat/alarms'
import { afterRefusal } from '../../src/chat/sending'
import { padme } from '../../src/crypto/envelope'
import type { ConnectionState } from '../../src/net/socket'
import { sentenceFor } from '../../src/ui/announcer'
import { bannersOf, type RoomSource } from '../../src/ui/banners'
import { characters, countText, type Keystroke, sends } from '../../src/ui/composing'
import { textParts } from '../../src/ui/links'
import { avatarHue } from '../../src/ui/person'
import { listTime } from '../../src/ui/times'
import { utf8 } from '../../src/wire/bytes'
import { MAX_ENVELOPE_BYTES } from '../../src/wire/frames'

const NOW = Date.UTC(2026, 10, 23, 12)

test('only http and https become links, and the text stays the same', () => {
  const links = (text: string): string[] =>
    textParts(text).flatMap((part) => (part.kind === 'link' ? [part.href] : []))

  expect(links('see https://example.org/x?y=1.')).toEqual(['https://example.org/x?y=1'])
  expect(links('(http://example.org/a) and https://e.org/a_(b)')).toEqual([
    'http://example.org/a',
    'https://e.org/a_(b)',
  ])
  expect(links('javascript:alert(1) data:text/html,x ftp://e.org')).toEqual([])
  expect(links('https://user:pass@e.org/ https://bank.example@evil.example/')).toEqual([])
  fc.assert(
    fc.property(fc.string(), fc.webUrl(), fc.string(), (before, url, after) => {
      const text = `${before} ${url} ${after}`
      expect(
        textParts(text)
          .map((part) => part.text)
          .join(''),
      ).toBe(text)
    }),
  )
})

test('Enter sends, Shift+Enter and a half-composed character do not', () => {
  const desktop = { enterSends: true, touch: false }
  const enter: Keystroke = {
    key: 'Enter',
    keyCode: 13,
    isComposing: false,
    shiftKey: false,
    ctrlKey: false,
    metaKey: false,
  }

  expect(sends(enter, desktop)).toBe(true)
  expect(sends({ ...enter, shiftKey: true }, desktop)).toBe(false)
  expect(sends({ ...enter, isComposing: true }, desktop)).toBe(false)
  expect(sends({ ...enter, keyCode: 229 }, desktop)).toBe(false)
  expect(sends(enter, { enterSends: true, touch: true })).toBe(false)
  expect(sends(enter, { enterSends: false, touch: false })).toBe(false)
  expect(sends({ ...enter, ctrlKey: true }, { enterSends: false, touch: true })).toBe(true)
})

test('the counter appears in the last tenth, and counts what people see as one character', () => {
  expect(countText(8_999, 10_000)).toBeNull()
  expect(countText(9_990, 10_000)).toBe('10 characters left')
  expect(countText(10_012, 10_000)).toContain('12 characters too many')
  expect(characters('🙂🙂')).toBe(2)
})

test('the longest text that may be written fits into an envelope', () => {
  const contentBytes = utf8('\u{1F642}'.repeat(10_000)).length + 100
  const headerAndSignature = 1_024

  expect(padme(contentBytes) + headerAndSignature).toBeLessThan(MAX_ENVELOPE_BYTES)
})

test('one message is read out, several are counted', () => {
  expect(sentenceFor(new Map([['Test01', ['hello']]]))).toBe('Test01: hello')
  expect(sentenceFor(new Map([['Test01', ['a', 'b', 'c', 'd']]]))).toBe('4 new messages from Test01')
})

test('avatars have the colour that the templates give them', () => {
  expect(avatarHue('alice')).toBe(avatarHue('ALICE'))
  expect(avatarHue('ab')).toBe((97 + 98 * 2) % 12)
})

test('the list shows the clock today, then the weekday, then the date', () => {
  const style = { locale: 'en-GB', timeZone: 'UTC' }

  expect(listTime(NOW - 60_000, NOW, style)).toBe('11:59')
  expect(listTime(NOW - 2 * 24 * 3600_000, NOW, style)).toBe('Sat')
  expect(listTime(NOW - 30 * 24 * 3600_000, NOW, style)).toBe('24 Oct')
})

function session(state: ConnectionState): Parameters<typeof bannersOf>[0] {
  return { trouble: null, signIns: [], retryAt: null, isStorageFull: false, connection: { state } }
}

test('connecting is silent for a second', () => {
  expect(bannersOf(session({ kind: 'connecting', since: NOW - 900 }), null, NOW)).toEqual([])
  expect(bannersOf(session({ kind: 'connecting', since: NOW - 1_000 }), null, NOW)).toMatchObject([
    { text: 'Connecting…' },
  ])
})

test('a lost connection counts down and offers to try now', () => {
  const [banner] = bannersOf(session({ kind: 'waiting', retryAt: NOW + 7_500, because: 'lost' }), null, NOW)

  expect(banner).toMatchObject({
    text: 'Connection lost. Trying again in 8 s.',
    spoken: 'Connection lost. Trying again.',
    offers: [{ kind: 'retry_now', label: 'Retry now' }],
  })
})

test('offline, signed out and too fast have their words', () => {
  const room = {
    alarm: null,
    mustSignIn: false,
    heldMessages: 0,
    summary: { peer: 'Test01' },
    sender: { pause: { until: NOW + 12_000, because: 'too_fast' } },
  } as unknown as RoomSource

  expect(bannersOf(session({ kind: 'offline' }), null, NOW)[0]?.text).toBe(
    'You are offline. Messages are kept here and sent when you are back.',
  )
  expect(
    bannersOf({ ...session({ kind: 'signed_out' }), trouble: { kind: 'signed_out' } }, null, NOW),
  ).toMatchObject([{ text: 'You were signed out on this browser.', offers: [{ kind: 'sign_in' }] }])
  expect(bannersOf(session({ kind: 'open' }), room, NOW)).toMatchObject([
    { text: 'You are sending too fast. You can send again in 12 s.' },
  ])
})

test('a restart, too many connections and a server that cannot have their words', () => {
  const retryAt = NOW + 3_000
  const room = {
    alarm: null,
    mustSignIn: false,
    heldMessages: 0,
    retryAt: null,
    summary: { peer: 'Test01' },
    sender: { pause: { until: retryAt, because: 'unavailable' } },
  } as unknown as RoomSource
  const open = session({ kind: 'open' })
  const wordsOf = (...all: Parameters<typeof bannersOf>): unknown =>
    bannersOf(...all).map(({ text, offers = [] }) => [text, offers.map(({ kind }) => kind)])

  expect(wordsOf(session({ kind: 'waiting', retryAt, because: 'restart' }), null, NOW)).toEqual([
    ['The server is restarting. Trying again in 3 s.', ['retry_now']],
  ])
  expect(wordsOf(session({ kind: 'waiting', retryAt, because: 'too_many' }), null, NOW)).toEqual([
    ['The server has too many connections or messages from you. Trying again in 3 s.', []],
  ])
  expect(wordsOf({ ...open, retryAt }, null, NOW)).toEqual([
    ['The server cannot give the list of your chats. Trying again in 3 s.', ['retry_now']],
  ])
  expect(wordsOf(open, room, NOW)).toEqual([
    ['The server could not store your message. Trying again in 3 s.', ['retry_now']],
  ])
  expect(wordsOf(open, { ...room, retryAt, sender: { pause: null } }, NOW)).toEqual([
    ['The server cannot give these messages. Trying again in 3 s.', ['retry_now']],
  ])
  expect(wordsOf({ ...open, isStorageFull: true }, null, NOW)).toEqual([
    ['This browser has no room left to keep what you write. Make room on this device, then send again.', []],
  ])
})

test('a new sign-in is told with its time, and can be looked at or put away', () => {
  const source = { ...session({ kind: 'open' }), signIns: [{ device: 'd1', at: NOW }] }

  const [banner] = bannersOf(source, null, NOW)

  expect(banner?.text).toMatch(/^A new browser signed in to your account at [^,]+\.$/)
  expect(banner?.offers).toMatchObject([{ kind: 'see_browsers' }, { kind: 'it_was_me', subject: 'd1' }])
})

test('keys that another browser renewed ask for the password, those of another tab for a reload', () => {
  const offersFor = (inThisBrowser: boolean): unknown =>
    bannersOf(
      { ...session({ kind: 'open' }), trouble: { kind: 'keys_renewed', inThisBrowser } },
      null,
      NOW,
    )[0]?.offers

  expect(offersFor(false)).toEqual([{ kind: 'sign_in', label: 'Type the password' }])
  expect(offersFor(true)).toEqual([{ kind: 'reload', label: 'Reload' }])
})

test('an alarm of the account offers what helps, which is never to ask the conversation again', () => {
  const offersFor = (code: AlarmCode): unknown =>
    bannersOf({ ...session({ kind: 'open' }), trouble: { kind: 'alarm', code } }, null, NOW)[0]?.offers

  expect(offersFor('own_identity_changed')).toEqual([{ kind: 'sign_in', label: 'Sign in again' }])
  expect(offersFor('vault_rolled_back')).toEqual([{ kind: 'reload', label: 'Reload' }])
  expect(offersFor('chain_forked')).toEqual([{ kind: 'reload', label: 'Reload' }])
})

test('messages that wait for new keys are counted, and sent only on demand', () => {
  const held = (heldMessages: number): RoomSource =>
    ({
      alarm: null,
      mustSignIn: false,
      heldMessages,
      summary: { peer: 'Test01' },
      retryAt: null,
      sender: { pause: null },
    }) as RoomSource
  const textOf = (count: number): string | undefined =>
    bannersOf(session({ kind: 'open' }), held(count), NOW)[0]?.text

  expect(textOf(0)).toBeUndefined()
  expect(textOf(1)).toBe('Test01 started over with new keys. 1 message waits until you say so.')
  expect(textOf(2)).toBe('Test01 started over with new keys. 2 messages wait until you say so.')
})

test('every alarm has a title, a sentence and an action', () => {
  const codes: readonly AlarmCode[] = [
    'altered_message',
    'unknown_content',
    'unknown_device',
    'commitment_mismatch',
    'wrong_conversation',
    'wrong_client_id',
    'wrong_epoch',
    'padding_invalid',
    'writer_broken',
    'log_mismatch',
    'head_invalid',
    'chain_invalid',
    'chain_foreign',
    'chain_rolled_back',
    'chain_behind',
    'chain_forked',
    'identity_changed',
    'epoch_invalid',
    'epoch_missing',
    'no_account_key',
    'vault_altered',
    'vault_rolled_back',
    'renamed',
    'history_shortened',
    'history_gap',
    'head_ahead',
  ]
  for (const code of codes) {
    const { title, sentence, action } = alarmText(code, 'Test01')
    expect([title, sentence, action.label].every((text) => text.length > 3)).toBe(true)
  }
  expect(alarmText('altered_message', 'Test01').sentence).toBe(
    "This message was altered or does not match Test01's key. It is not shown.",
  )
})

test('a refused message is sealed again, waits, halts or fails', () => {
  const kindOf = (code: string): string => afterRefusal(code, 'Why.', null).kind

  expect(afterRefusal('stale_epoch', '', null)).toEqual({ kind: 'seal_again', lookUp: false, epochs: true })
  expect(afterRefusal('writer_gap', '', null)).toEqual({ kind: 'seal_again', lookUp: true, epochs: false })
  expect(afterRefusal('client_id_reused', '', null)).toEqual({
    kind: 'seal_again',
    lookUp: true,
    epochs: false,
  })
  expect(afterRefusal('too_fast', '', 12)).toEqual({ kind: 'wait', seconds: 12, because: 'too_fast' })
  expect(kindOf('unavailable')).toBe('wait')
  expect(kindOf('conversation_closed')).toBe('halt')
  expect(kindOf('peer_has_no_keys')).toBe('halt')
  expect(kindOf('unknown_device')).toBe('halt')
  expect(kindOf('something_new')).toBe('failed')
})
