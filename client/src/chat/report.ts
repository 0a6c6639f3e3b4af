/** Reporting somebody to the operators (section 12). */
import type { Api } from '../net/api'
import { decodeReported, encodeReport, type ReportCategory } from '../wire/report'
import type { Disclosed } from './disclosure'

export interface NewReport {
  readonly conversation: string
  readonly category: ReportCategory
  readonly note: string
  /** Empty for a report about the person alone. */
  readonly messages: readonly Disclosed[]
}

/** Throws `ApiRefused` or `ApiUnreachable`. */
export async function sendReport(api: Api, report: NewReport): Promise<void> {
  decodeReported(await api.request('POST', '/api/reports/', encodeReport(report)))
}

export function disclosedBytes(messages: readonly Disclosed[]): number {
  return messages.reduce((sum, { content }) => sum + content.length, 0)
}
