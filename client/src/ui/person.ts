/** How a person is shown: name, presence, the colour and the letters of an avatar, as the templates' filters compute them (templatetags/look.py). */

const AVATAR_HUES = 12

/** The number of an `avatar-hue-` class. Case does not matter: names are compared without it. */
export function avatarHue(name: string): number {
  const sum = Array.from(name.toLowerCase()).reduce(
    (total, character, index) => total + (character.codePointAt(0) ?? 0) * (index + 1),
    0,
  )
  return sum % AVATAR_HUES
}

export function initials(name: string): string {
  return name.slice(0, 2).toUpperCase()
}

const NAME_CHARACTERS = 32

/** A name as it may stand anywhere: the server sends it, so nothing that turns or stretches the text around it gets through. */
export function shownName(name: string): string {
  const characters = Array.from(name.slice(0, 4 * NAME_CHARACTERS), (character) =>
    /[\p{L}\p{N} ._-]/u.test(character) ? character : '\u{FFFD}',
  )
  return characters.length <= NAME_CHARACTERS
    ? characters.join('')
    : `${characters.slice(0, NAME_CHARACTERS).join('')}…`
}

export type PresenceState = 'online' | 'offline' | 'unknown'

export function presenceState(online: boolean | null): PresenceState {
  if (online === null) return 'unknown'
  return online ? 'online' : 'offline'
}

export function presenceWord(online: boolean | null): string {
  if (online === null) return 'Presence unknown'
  return online ? 'Online' : 'Offline'
}
