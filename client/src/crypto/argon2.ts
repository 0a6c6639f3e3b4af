/** Argon2id at the cost that docs/protocol.md fixes. The server never chooses it. Source: RFC 9106 section 4. */
import { argon2id } from 'hash-wasm'

import { type Bytes } from '../wire/bytes'

const MEMORY_KIB = 65_536
const PASSES = 3
const LANES = 1
const STRETCHED_BYTES = 32

export async function argon2(password: Bytes, salt: Bytes): Promise<Bytes> {
  const stretched = await argon2id({
    password,
    salt,
    memorySize: MEMORY_KIB,
    iterations: PASSES,
    parallelism: LANES,
    hashLength: STRETCHED_BYTES,
    outputType: 'binary',
  })
  return new Uint8Array(stretched)
}
