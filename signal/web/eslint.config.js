import nounsanitized from "eslint-plugin-no-unsanitized";
import tseslint from "typescript-eslint";

// Strings never become markup or code in this page: text goes in through
// textContent, elements through createElement.
const sinks = [
  "innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc", "setHTMLUnsafe", "parseHTMLUnsafe",
  "createContextualFragment", "parseFromString",
].map((name) => ({
  selector: `MemberExpression[property.name='${name}']`,
  message: `${name} turns a string into markup; build elements instead`,
}));

export default tseslint.config(
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: ["./tsconfig.json", "./tsconfig.test.json"], tsconfigRootDir: import.meta.dirname },
    },
    plugins: { "no-unsanitized": nounsanitized },
    rules: {
      "no-unsanitized/method": "error",
      "no-unsanitized/property": "error",
      "no-restricted-syntax": ["error", ...sinks],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-console": "error",
      "eqeqeq": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
    },
  },
  {
    // node:test reports a failing test by itself; the promise of test() is not for us.
    files: ["src/**/*.test.ts"],
    rules: { "@typescript-eslint/no-floating-promises": "off" },
  },
);
