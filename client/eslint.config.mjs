import tseslint from 'typescript-eslint'

/** Folders go one way: pages → ui → chat → net | store | crypto → wire. `crypto` touches neither network nor disk. */
const layers = { wire: [], net: ['wire'], store: ['wire'], crypto: ['wire'] }
layers.chat = ['wire', 'net', 'store', 'crypto']
layers.ui = [...layers.chat, 'chat']
layers.pages = [...layers.ui, 'ui']

const layerRules = Object.entries(layers).map(([folder, allowed]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: Object.keys(layers)
          .filter((other) => other !== folder && !allowed.includes(other))
          .map((other) => ({ group: [`**/${other}/*`], message: `${folder} must not know ${other}.` })),
      },
    ],
  },
}))

export default tseslint.config(
  { ignores: ['dist', 'node_modules'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Text reaches the page by text nodes only.' },
        { property: 'outerHTML', message: 'Text reaches the page by text nodes only.' },
        { property: 'insertAdjacentHTML', message: 'Text reaches the page by text nodes only.' },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  ...layerRules,
)
