import type { MailTexts } from '#core/mail-text.ts'

export const cs: MailTexts = {
  greeting: 'Dobrý den,',
  ending: 'Tato zpráva byla odeslána automaticky. Neodpovídejte na ni, prosím.',
  deliveries: {
    'delivery-arrived': {
      subject: label => `Nová zásilka: ${label}`,
      opening: 'Obdrželi jste zásilku.',
      closing: 'Podle ID server pozná, kterou zásilku chcete otevřít.',
    },
    'approval-needed': {
      subject: label => `Čeká na schválení: ${label}`,
      opening: 'Zásilka čeká na vaše schválení.',
      closing: 'Dokud nebude schválena, příjemci ji nemohou otevřít.',
    },
    'delivery-approved': {
      subject: label => `Schváleno: ${label}`,
      opening: 'Vaše zásilka byla schválena.',
      closing: 'Příjemci ji nyní mohou otevřít.',
    },
    'delivery-refused': {
      subject: label => `Neschváleno: ${label}`,
      opening: 'Vaše zásilka nebyla schválena.',
      closing: 'Příjemci ji nemohou otevřít.',
    },
    'delivery-quarantined': {
      subject: label => `V karanténě: ${label}`,
      opening: 'Vaše zásilka obsahuje něco, co může být škodlivé nebo se nesmí odesílat.',
      closing: 'Je v karanténě a nelze ji otevřít, dokud ji správce neuvolní.',
    },
  },
  password: {
    subject: 'Zvolte si heslo',
    opening: 'Na této stránce si prosím zvolte heslo ke svému účtu:',
    closing: 'Odkaz lze použít pouze jednou. Pokud jste tuto zprávu nečekali, můžete ji ignorovat.',
  },
  test: {
    subject: 'Zkušební zpráva',
    opening: 'Toto je zkušební zpráva. Ukazuje, že server může na tuto adresu posílat e-maily.',
  },
  note: 'Poznámka odesílatele:',
  names: {
    sender: 'Odesílatel',
    label: 'Předmět',
    until: 'Dostupné do',
    id: 'ID zásilky',
    server: 'Server',
    login: 'Přihlašovací jméno',
    linkUntil: 'Platnost odkazu do',
  },
  endless: 'bez časového omezení',
}
