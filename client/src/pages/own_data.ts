/** What the server holds about this person, to take along; and the end of the account. */
import { authKeys, foldedName } from '../chat/account_session'
import { forgetPerson } from '../store/account_store'
import {
  accountPageData,
  accountTools,
  assureGiven,
  assureOrigin,
  problemOf,
  ProblemsFound,
  stepText,
} from '../ui/account_page'
import { download } from '../ui/download'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { tellTabs } from '../ui/tabs'

const data = accountPageData(document)
const username = data.username ?? ''
const tools = accountTools(document, data, (step) => {
  working?.busy(stepText(step))
})
let working: AccountForm | null = null

takeOver(byId(document, 'export-form', HTMLFormElement), saveOwnData, (error) =>
  problemOf(error, { passwordField: 'export-password' }),
)
takeOver(byId(document, 'delete-form', HTMLFormElement), deleteAccount, (error) =>
  problemOf(error, { passwordField: 'delete-password' }),
)

async function saveOwnData(form: AccountForm): Promise<'stay'> {
  const proof = await provenBy(form, 'export-password')
  form.busy('Gathering what the server has…')
  const everything = await tools.api.request('POST', '/api/account/export/', proof)
  const name = `securechat-${foldedName(username)}-${new Date().toISOString().slice(0, 10)}.json`
  download(document, { name, content: JSON.stringify(everything, null, 1), type: 'application/json' })
  form.element.reset()
  form.showSuccess(`Saved as ${name}.`)
  return 'stay'
}

async function deleteAccount(form: AccountForm): Promise<'stay' | 'leave'> {
  const typed = form.value('delete-name').trim()
  if (foldedName(typed) !== foldedName(username)) {
    const message = `Type ${username}, the name of the account that is deleted.`
    throw new ProblemsFound([{ field: 'delete-name', message }])
  }
  const proof = await provenBy(form, 'delete-password')
  form.busy('Deleting your account…')
  await tools.api.request('POST', '/api/account/delete/', proof)
  await forgetPerson(foldedName(username)).catch(reportError)
  tellTabs(foldedName(username), 'signed_out')
  location.assign('/log-in/?deleted=1')
  return 'leave'
}

async function provenBy(form: AccountForm, field: string): Promise<{ readonly auth_key: string }> {
  working = form
  assureOrigin(data.origin, location)
  assureGiven(form, [[field, 'Enter your password.']])
  const { authKey } = await authKeys({ username, password: form.value(field), newPassword: null }, tools)
  return { auth_key: authKey }
}
