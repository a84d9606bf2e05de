import type { MailTexts } from '#core/mail-text.ts'

export const de: MailTexts = {
  greeting: 'Guten Tag,',
  ending: 'Diese Nachricht wurde automatisch versandt. Bitte antworten Sie nicht darauf.',
  deliveries: {
    'delivery-arrived': {
      subject: label => `Neue Sendung: ${label}`,
      opening: 'Sie haben eine Sendung erhalten.',
      closing: 'Die ID teilt dem Server mit, welche Sendung Sie öffnen möchten.',
    },
    'approval-needed': {
      subject: label => `Genehmigung erforderlich: ${label}`,
      opening: 'Eine Sendung wartet auf Ihre Genehmigung.',
      closing: 'Die Empfänger können sie erst öffnen, wenn sie genehmigt ist.',
    },
    'delivery-approved': {
      subject: label => `Genehmigt: ${label}`,
      opening: 'Ihre Sendung wurde genehmigt.',
      closing: 'Die Empfänger können sie jetzt öffnen.',
    },
    'delivery-refused': {
      subject: label => `Nicht genehmigt: ${label}`,
      opening: 'Ihre Sendung wurde nicht genehmigt.',
      closing: 'Die Empfänger können sie nicht öffnen.',
    },
    'delivery-quarantined': {
      subject: label => `In Quarantäne: ${label}`,
      opening: 'Ihre Sendung enthält etwas, das schädlich sein kann oder nicht versandt werden darf.',
      closing: 'Sie ist in Quarantäne und kann erst geöffnet werden, wenn ein Administrator sie freigibt.',
    },
  },
  password: {
    subject: 'Wählen Sie Ihr Passwort',
    opening: 'Bitte wählen Sie auf dieser Seite ein Passwort für Ihr Konto:',
    closing:
      'Der Link funktioniert nur einmal. Wenn Sie diese Nachricht nicht erwartet haben, brauchen Sie nichts zu tun.',
  },
  test: {
    subject: 'Testnachricht',
    opening: 'Dies ist eine Testnachricht. Sie zeigt, dass der Server E-Mails an diese Adresse senden kann.',
  },
  note: 'Notiz des Absenders:',
  names: {
    sender: 'Absender',
    label: 'Betreff',
    until: 'Verfügbar bis',
    id: 'ID der Sendung',
    server: 'Server',
    login: 'Anmeldename',
    linkUntil: 'Link gültig bis',
  },
  endless: 'unbefristet',
}
