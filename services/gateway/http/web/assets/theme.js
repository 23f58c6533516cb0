// Dark or light: what the system says, until somebody says otherwise here. Runs before the first paint, so not a module.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("ragmesh.theme");
    } catch {
      return null; // storage may be forbidden
    }
  };
  const chosen = stored();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => {
      button.setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
      button.classList.toggle("is-dark", isDark());
    };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("ragmesh.theme", root.dataset.theme);
      } catch {
        // it holds for this page only
      }
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  });
})();
