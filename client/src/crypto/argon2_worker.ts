/** The worker that stretches passwords, so that the page does not freeze meanwhile. Its other end is stretch.ts. */
import { argon2 } from './argon2'
import type { StretchAnswer, StretchRequest } from './stretch'

addEventListener('message', (event: MessageEvent<StretchRequest>) => {
  void answer(event.data)
})

async function answer({ id, password, salt }: StretchRequest): Promise<void> {
  try {
    tell({ id, stretched: await argon2(password, salt) })
  } catch {
    tell({ id, stretched: null })
  }
}

function tell(message: StretchAnswer): void {
  postMessage(message)
}
