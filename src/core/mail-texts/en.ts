import type { MailTexts } from '#core/mail-text.ts'

export const en: MailTexts = {
  greeting: 'Hello,',
  ending: 'This message was sent automatically. Please do not reply to it.',
  deliveries: {
    'delivery-arrived': {
      subject: label => `New delivery: ${label}`,
      opening: 'You have received a delivery.',
      closing: 'Its ID tells the server which delivery you want to open.',
    },
    'approval-needed': {
      subject: label => `Approval needed: ${label}`,
      opening: 'A delivery is waiting for your approval.',
      closing: 'Its recipients cannot open it until it is approved.',
    },
    'delivery-approved': {
      subject: label => `Approved: ${label}`,
      opening: 'Your delivery has been approved.',
      closing: 'Its recipients can open it now.',
    },
    'delivery-refused': {
      subject: label => `Not approved: ${label}`,
      opening: 'Your delivery has not been approved.',
      closing: 'Its recipients cannot open it.',
    },
    'delivery-quarantined': {
      subject: label => `In quarantine: ${label}`,
      opening: 'Your delivery contains something that may be harmful or is not allowed to be sent.',
      closing: 'It is in quarantine and cannot be opened until an administrator releases it.',
    },
  },
  password: {
    subject: 'Choose your password',
    opening: 'Please choose a password for your account on this page:',
    closing: 'The link works once. If you did not expect this message, you can ignore it.',
  },
  test: {
    subject: 'Test message',
    opening: 'This is a test message. It shows that the server can send mail to this address.',
  },
  note: 'Note from the sender:',
  names: {
    sender: 'Sender',
    label: 'Subject',
    until: 'Available until',
    id: 'Delivery ID',
    server: 'Server',
    login: 'Login',
    linkUntil: 'Link valid until',
  },
  endless: 'no time limit',
}
