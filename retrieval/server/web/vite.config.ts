import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  build: {
    outDir: "../page",
    emptyOutDir: true,
    target: "es2023",
    // light-dark() and nesting stay as they are written: every browser of the last two years reads them.
    cssTarget: ["chrome125", "firefox128", "safari17.5"],
    // Inlined files would be data: addresses, which the server's Content-Security-Policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npm run dev` beside a running `xmodal serve`.
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
});
