import type { MailTexts } from '#core/mail-text.ts'

export const sk: MailTexts = {
  greeting: 'Dobrý deň,',
  ending: 'Táto správa bola odoslaná automaticky. Neodpovedajte na ňu, prosím.',
  deliveries: {
    'delivery-arrived': {
      subject: label => `Nová zásielka: ${label}`,
      opening: 'Dostali ste zásielku.',
      closing: 'Podľa ID server spozná, ktorú zásielku chcete otvoriť.',
    },
    'approval-needed': {
      subject: label => `Čaká na schválenie: ${label}`,
      opening: 'Zásielka čaká na vaše schválenie.',
      closing: 'Kým nebude schválená, príjemcovia ju nemôžu otvoriť.',
    },
    'delivery-approved': {
      subject: label => `Schválené: ${label}`,
      opening: 'Vaša zásielka bola schválená.',
      closing: 'Príjemcovia ju teraz môžu otvoriť.',
    },
    'delivery-refused': {
      subject: label => `Neschválené: ${label}`,
      opening: 'Vaša zásielka nebola schválená.',
      closing: 'Príjemcovia ju nemôžu otvoriť.',
    },
    'delivery-quarantined': {
      subject: label => `V karanténe: ${label}`,
      opening: 'Vaša zásielka obsahuje niečo, čo môže byť škodlivé alebo sa nesmie odosielať.',
      closing: 'Je v karanténe a nemožno ju otvoriť, kým ju správca neuvoľní.',
    },
  },
  password: {
    subject: 'Zvoľte si heslo',
    opening: 'Na tejto stránke si, prosím, zvoľte heslo k svojmu účtu:',
    closing: 'Odkaz možno použiť iba raz. Ak ste túto správu nečakali, môžete ju ignorovať.',
  },
  test: {
    subject: 'Skúšobná správa',
    opening: 'Toto je skúšobná správa. Ukazuje, že server môže na túto adresu posielať e-maily.',
  },
  note: 'Poznámka odosielateľa:',
  names: {
    sender: 'Odosielateľ',
    label: 'Predmet',
    until: 'Dostupné do',
    id: 'ID zásielky',
    server: 'Server',
    login: 'Prihlasovacie meno',
    linkUntil: 'Platnosť odkazu do',
  },
  endless: 'bez časového obmedzenia',
}
