/** What the tabs of one person in one browser tell each other. It stays in the browser. */

export type TabNews =
  /** The keys were put away: every tab asks for the password. */
  | 'locked'
  | 'signed_out'
  /** Keys were stored, by a log-in or because they were renewed: what is open works on with those. */
  | 'new_keys'

const NEWS: readonly unknown[] = ['locked', 'signed_out', 'new_keys'] satisfies readonly TabNews[]

/** `name` is folded. */
export function tellTabs(name: string, news: TabNews): void {
  const channel = new BroadcastChannel(channelOf(name))
  channel.postMessage(news)
  channel.close()
}

/** Hears what other tabs tell, not what this page told with `tellTabs` before it listened. */
export function listenToTabs(name: string, heard: (news: TabNews) => void): void {
  new BroadcastChannel(channelOf(name)).addEventListener('message', ({ data }: MessageEvent<unknown>) => {
    if (NEWS.includes(data)) heard(data as TabNews)
  })
}

function channelOf(name: string): string {
  return `securechat-${name}`
}
