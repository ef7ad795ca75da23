"use strict";
// Without this script the page is whole: Chinese first, the switch works by style alone.
(function () {
  var titles = document.querySelector("title").dataset;
  function name() {
    var language = document.getElementById("language-en").checked ? "en" : "zh";
    document.documentElement.lang = language === "en" ? "en" : "zh-CN";
    document.title = titles[language];
  }
  var asked = location.hash === "#en" || location.hash === "#zh" ? location.hash.slice(1) : "";
  var spoken = (navigator.language || "zh").toLowerCase().indexOf("zh") === 0 ? "zh" : "en";
  document.getElementById("language-" + (asked || spoken)).checked = true;
  document.querySelectorAll("input.language").forEach(function (input) {
    input.addEventListener("change", name);
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
  name();
})();
